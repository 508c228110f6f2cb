"""The prepared folder: images in ArrayRecord files, labels and names beside them.

``prepared.json`` is written last: a folder without it is not prepared, though what
is in its ``incomplete`` is used by the next attempt.
"""

import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cgat_jax.data.archives import read_source
from cgat_jax.data.builder import build
from cgat_jax.data.dataset import DataError
from cgat_jax.data.listing import Listing, require_files
from cgat_jax.data.parts import write_json
from cgat_jax.data.places import Place

Scan = Callable[[Sequence[Place]], Listing]

FORMAT = 1
_MANIFEST = "prepared.json"
_ARRAYS = "arrays.npz"
CONTENTS = "contents.npy"
_BUILDING = "incomplete"
IMAGES = "images"
AGAIN = "choose another folder, or delete this one and prepare it again"


def is_prepared(root: Path) -> bool:
    """Whether a preparation into ``root`` was finished."""
    return (root / _MANIFEST).is_file()


def prepare(
    scan: Scan,
    source: Path,
    root: Path,
    *,
    image_size: int,
    threads: int,
    progress: bool,
) -> bool:
    """Fills ``root`` from the original files, unless that was done before.

    Args:
        scan: reads what the source lists, without looking for the images.
        source: folder of the original files or their archives, or one archive.
        root: created. What an interrupted preparation finished is used, and the files
            are those of an uninterrupted one; a second process waits for the first.
        image_size: short side of the stored images; smaller ones are not enlarged.
        threads: decoding threads.
        progress: a bar on stderr, where that is a terminal.

    Returns:
        Whether there was anything to do.

    Raises:
        DataError: a bad list or bad images, all of them named (up to 20).
    """
    if is_prepared(root):
        return False
    if not source.exists():
        raise DataError(f"{source}: no such folder; expected the original files there")
    created = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root):
        if is_prepared(root):
            return False
        try:
            listing = _list(scan, source, root / _BUILDING / "unpacked", progress)
        except DataError:
            _undo(root, created)
            raise
        parts = root / _BUILDING / "parts"
        folder, contents = build(listing, parts, image_size, threads, progress)
        shutil.rmtree(root / IMAGES, ignore_errors=True)
        os.replace(folder, root / IMAGES)
        np.save(root / CONTENTS, contents)
        _write_sidecars(listing, root, source, image_size)
        shutil.rmtree(root / _BUILDING, ignore_errors=True)
    return True


def prepared_as(root: Path) -> tuple[str, int]:
    """Name of the data set in a prepared folder, and its ``image_size``.

    Raises:
        DataError: damaged.
    """
    try:
        manifest = json.loads((root / _MANIFEST).read_text(encoding="utf-8"))
        return str(manifest["name"]), int(manifest["image_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root}: damaged ({error}); {AGAIN}") from error


def open_prepared(root: Path, name: str, image_size: int) -> Listing:
    """What ``prepare`` put into ``root``, as it was listed.

    Raises:
        DataError: not prepared, damaged, or prepared with other settings.
    """
    if not is_prepared(root):
        raise DataError(f"{root}: no prepared data; run python -m experiments.prepare")
    try:
        manifest = json.loads((root / _MANIFEST).read_text(encoding="utf-8"))
        with (root / _ARRAYS).open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{root}: damaged ({error}); {AGAIN}") from error
    wanted = {"format": FORMAT, "name": name, "image_size": image_size}
    for key, value in wanted.items():
        if manifest.get(key) != value:
            found = manifest.get(key)
            raise DataError(f"{root}: {key} is {found!r}, not {value!r}; {AGAIN}")
    return Listing(
        name=name,
        class_names=tuple(manifest["class_names"]),
        image_ids=tuple(manifest["image_ids"]),
        labels=arrays.pop("labels"),
        parts=arrays,
        notes=tuple(manifest["notes"]),
    )


def _list(scan: Scan, source: Path, unpacked: Path, progress: bool) -> Listing:
    def read(places: Sequence[Place]) -> Listing:
        listing = scan(places)
        require_files(str(source), listing)
        return listing

    return read_source(read, source, unpacked, progress)


def _undo(root: Path, created: bool) -> None:
    """Removes a folder that a refused source has left with nothing in it."""
    if created and not (root / _BUILDING).exists():
        shutil.rmtree(root)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    # The system lets go of the lock when the process ends, however it ends.
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_sidecars(
    listing: Listing, root: Path, source: Path, image_size: int
) -> None:
    np.savez(root / _ARRAYS, labels=listing.labels, **listing.parts)
    manifest = {
        "format": FORMAT,
        "name": listing.name,
        "image_size": image_size,
        "source": str(source.resolve()),
        "num_images": len(listing.image_ids),
        "notes": listing.notes,
        "class_names": listing.class_names,
        "image_ids": listing.image_ids,
    }
    write_json(root / _MANIFEST, manifest)
