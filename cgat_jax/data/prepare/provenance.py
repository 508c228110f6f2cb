"""Whether prepared data are still those of their source.

``source.json`` remembers where the source lay and a stamp of it: names, sizes and times
of its files. Another stamp may be the same source copied or moved, or one in which
labels or images were changed; only a comparison of all of it tells.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare.comparison import differences
from cgat_jax.data.prepare.manifest import is_own, read_manifest
from cgat_jax.data.sources.source_file import SourceFile
from cgat_jax.data.sources.source_index import SourceIndex, list_source
from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.files.locks import locked
from cgat_jax.files.ownership import claim_folder, kind_of

RECORD = "source.json"
_log = logging.getLogger(__name__)


def fingerprint_of(source: Path, skip: Path) -> str:
    """SHA-256 of the relative paths, sizes and times of a source's files.

    Folders that this program made, and ``skip``, are left out.
    """
    digest = hashlib.sha256()
    if source.is_file():
        found = source.stat()
        digest.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
        return digest.hexdigest()
    seen, skipped = set(), skip.resolve()
    for folder, inner, files in os.walk(source, followlinks=True):
        here = Path(folder)
        place = os.stat(folder)
        if (place.st_dev, place.st_ino) in seen or _is_ours(here, source, skipped):
            inner.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        inner.sort()
        for name in sorted(files):
            with contextlib.suppress(OSError):  # a link to nothing
                found = os.stat(here / name)
                relative = os.path.relpath(here / name, source)
                line = f"{relative!r} {found.st_size} {found.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def remember(root: Path, source: Path, stamp: str) -> None:
    """Notes of which source the data in ``root`` are.

    Args:
        root: of the prepared data.
        source: that they are of.
        stamp: of the source before it was read. One that has changed since, while it
            was read, is not noted, so that the next call compares.
    """
    still = stamp if fingerprint_of(source, root) == stamp else ""
    content = {"path": str(source.resolve()), "stamp": still}
    write_sealed(root / RECORD, content)


def check_source(
    scan: Callable[[Sequence[SourceFile]], SourceIndex],
    source: Path,
    root: Path,
    *,
    threads: int,
    progress: bool,
) -> None:
    """Finds that the data in ``root`` are those of a source.

    Raises:
        DataError: they are not; says what differs. Or there is no such source, and
            they were prepared from another one.
    """
    manifest, recorded = read_manifest(root), _recorded(root)
    paths = [recorded.get("path", manifest.source), manifest.source]
    if not source.exists():
        if str(source.resolve()) in paths:
            return
        raise DataError(
            f"{source}: no such folder; the data in {root} were prepared from "
            f"{paths[0]}"
        )
    stamp = fingerprint_of(source, root)
    if recorded.get("stamp") == stamp:
        return
    with tempfile.TemporaryDirectory(prefix="cgat_jax-") as unpacked:
        listing = list_source(scan, source, Path(unpacked), progress)
        lines = differences(root, listing, threads, progress)
    if lines:
        raise DataError(
            f"{source}: not what {root} was prepared from: {'; '.join(lines)}; prepare "
            "it into another folder, or leave the source out to use what is prepared"
        )
    try:
        claim_folder(root, "data", is_own=is_own)
        with locked(root, patience=float("inf"), waiting=_log.warning):
            remember(root, source, stamp)
    except OSError as error:  # a folder that may only be read
        _log.warning("%s: the source is compared again next time (%s)", root, error)


def _recorded(root: Path) -> dict[str, str]:
    """Path and stamp of the source; nothing where they are not known."""
    try:
        found = read_sealed(root / RECORD)
    except (OSError, DamagedFileError):
        return {}
    return {key: str(found[key]) for key in ("path", "stamp") if key in found}


def _is_ours(folder: Path, source: Path, skipped: Path) -> bool:
    if folder != source and kind_of(folder) is not None:
        return True
    return folder.resolve() == skipped
