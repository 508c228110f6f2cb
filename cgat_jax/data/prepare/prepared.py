"""The prepared folder: images in ArrayRecord files, labels and names beside them.

``prepared.json`` is written last: a folder without it is not prepared, though what
is in its ``incomplete`` is used by the next attempt.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare.builder import MAX_NAMED, UnusableError, build
from cgat_jax.data.prepare.manifest import (
    FILES,
    IMAGES,
    is_own,
    is_prepared,
    write_manifest,
)
from cgat_jax.data.prepare.opened import open_prepared
from cgat_jax.data.prepare.provenance import (
    RECORD,
    check_source,
    fingerprint_of,
    remember,
)
from cgat_jax.data.prepare.storage import Built
from cgat_jax.data.sources.source_file import SourceFile, some
from cgat_jax.data.sources.source_index import SourceIndex, list_source
from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.files.io import (
    file_digest,
    read_sealed,
    remove_partials,
    write_sealed,
    write_text,
)
from cgat_jax.files.locks import locked
from cgat_jax.files.ownership import (
    MARK,
    check_apart,
    claim_folder,
    kind_of,
    release_folder,
    remove_work,
)

__all__ = ["Scan", "is_prepared", "open_prepared", "prepare"]

Scan = Callable[[Sequence[SourceFile]], SourceIndex]

_BUILDING, _PLACED, _UNUSABLE = "incomplete", "placed.json", "unusable.txt"
_log = logging.getLogger(__name__)


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

    What was prepared before is compared with the source: at once where no file has
    another size or time than then, else in its lists and in the content of all images.

    Args:
        scan: reads what the source lists, without looking for the images.
        source: folder of the original files or their archives, or one archive.
        root: new, empty or of this program, apart from the source. What an interrupted
            preparation finished is used, and the files are those of an uninterrupted
            one; a second process says so and waits for the first.
        image_size: short side of the stored images; smaller ones are not enlarged.
        threads: decoding threads.
        progress: a bar on stderr, where that is a terminal.

    Returns:
        Whether there was anything to do.

    Raises:
        DataError: a bad list or bad images, the first 20 of them named and all of them
            listed in ``unusable.txt``; or a source that is another one than the folder
            was prepared from.
        ForeignFilesError: the root holds other files, or is not apart from the source.
    """
    if is_prepared(root):
        _tidy(root)
        check_source(scan, source, root, threads=threads, progress=progress)
        return False
    if not source.exists():
        raise DataError(
            f"{source}: no such folder; expected a folder or an archive of images"
        )
    check_apart(root, source)
    existed = root.is_dir()
    new = claim_folder(root, "data")
    with locked(root, patience=float("inf"), waiting=_log.warning):
        waited = is_prepared(root)
        if not waited:
            work, stamp = root / _BUILDING, fingerprint_of(source, root)
            try:
                _clear_images(root)
                claim_folder(work, "work")
                listing = list_source(scan, source, work / "unpacked", progress)
            except InputError:
                _undo(root, work, new, existed)
                raise
            with _unusable_listed(root / _UNUSABLE):
                built = build(listing, work / "parts", image_size, threads, progress)
            _place(root, built)
            remember(root, source, stamp)
            write_manifest(root, listing, built, source, image_size)
            remove_partials(root, (*FILES, RECORD, MARK, _UNUSABLE))
            remove_work(work)
    if waited:  # for another process, which may have prepared another source
        check_source(scan, source, root, threads=threads, progress=progress)
    return not waited


def _tidy(root: Path) -> None:
    """Removes what a preparation left that was stopped when all else was done."""
    if kind_of(root / _BUILDING) == "work" and os.access(root, os.W_OK):
        claim_folder(root, "data", is_own=is_own)
        with locked(root, patience=float("inf"), waiting=_log.warning):
            remove_work(root / _BUILDING)


@contextlib.contextmanager
def _unusable_listed(path: Path) -> Iterator[None]:
    """Has a file list all images that are not usable, a line each; else there is none.

    Raises:
        DataError: they are not, and where the list is.
    """
    try:
        yield
    except UnusableError as error:
        write_text(path, "".join(f"{line}\n" for line in error.lines))
        if len(error.lines) > MAX_NAMED:
            raise DataError(f"{error}; all of them: {path}") from error
        raise
    path.unlink(missing_ok=True)


def _undo(root: Path, work: Path, new: bool, existed: bool) -> None:
    """Leaves nothing behind of a source that was refused before any work was done."""
    if work.is_dir() and not work.is_symlink() and kind_of(work) == "work":
        release_folder(work)
    if new:
        release_folder(root)
    if existed:
        root.mkdir(exist_ok=True)


def _place(root: Path, built: Built) -> None:
    """Puts the images where they belong, with a note that they are ours."""
    write_sealed(root / _BUILDING / _PLACED, {"files": built.files})
    os.rename(built.folder, root / IMAGES)


def _clear_images(root: Path) -> None:
    """Removes the images that an interrupted preparation put in place.

    Raises:
        ForeignFilesError: there are others, which all stay.
    """
    images = root / IMAGES
    if not os.path.lexists(images):
        return
    try:
        ours = read_sealed(root / _BUILDING / _PLACED)["files"]
    except (OSError, InputError, KeyError):
        ours = {}
    names = sorted(os.listdir(images)) if _is_plain(images) else [IMAGES]
    others = [name for name in names if not _is_ours(images / name, ours)]
    if others or not _is_plain(images):
        raise ForeignFilesError(
            f"{images}: not made by this program, so not removed ({some(others)}); "
            "move it away"
        )
    for name in names:
        (images / name).unlink()
    images.rmdir()


def _is_plain(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()


def _is_ours(path: Path, ours: dict[str, str]) -> bool:
    plain = path.is_file() and not path.is_symlink()
    return plain and path.name in ours and file_digest(path) == ours[path.name]
