"""Whether the files with images are still those that were written.

Their digests are in ``prepared.json``; to read all bytes takes a while, so that it is
done once: ``checked.json`` notes size and time of each file that was found sound.
"""

import contextlib
import dataclasses
from pathlib import Path

from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare.manifest import AGAIN, IMAGES, Manifest, check_files
from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.files.ownership import kind_of

CHECKED = "checked.json"


def check_unchanged(root: Path, manifest: Manifest) -> None:
    """Finds that the files with images are those of this preparation.

    Raises:
        DataError: one is damaged, missing, or of another preparation; names it.
    """
    stamps = {name: _stamp(root / IMAGES / name, manifest) for name in manifest.files}
    try:
        known = read_sealed(root / CHECKED)
    except (OSError, DamagedFileError):
        known = {}
    new = {n: d for n, d in manifest.files.items() if known.get(n) != stamps[n]}
    if lines := check_files(root, dataclasses.replace(manifest, files=new)):
        raise DataError(f"{root}: damaged ({'; '.join(lines)}); {AGAIN}")
    if new and kind_of(root) == "data":
        with contextlib.suppress(OSError):  # a folder that may only be read
            write_sealed(root / CHECKED, stamps)


def _stamp(path: Path, manifest: Manifest) -> str:
    """What changes with a file, and with what it should be; empty without one."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{manifest.files[path.name]} {found.st_size} {found.st_mtime_ns}"
