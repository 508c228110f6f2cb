"""The image files below a folder or in a zip archive, by the endings of their names."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cgat_jax.data.images import SUFFIXES
from cgat_jax.data.sources.source_file import SourceFile
from cgat_jax.files.ownership import kind_of

_NOT_OURS = ("__MACOSX", "Thumbs.db", "desktop.ini")


class ImageFiles(NamedTuple):
    """Relative names, in order: images, and files that are none."""

    images: list[str]
    others: list[str]


def image_files(place: SourceFile) -> ImageFiles:
    """All files of a place; hidden ones and what this program made are passed over.

    Links are followed, each folder once.

    Raises:
        OSError: a folder cannot be read.
    """
    walk = _in_folder if isinstance(place, Path) else _in_archive
    found = ImageFiles([], [])
    for name in sorted(walk(place)):
        if is_plain(name):
            found[not is_image(name)].append(name)
    return found


def within(files: ImageFiles, folder: str) -> ImageFiles:
    """The files below a folder (``a/b/``, or empty: all), named from there."""
    return ImageFiles(
        *([n[len(folder) :] for n in names if n.startswith(folder)] for names in files)
    )


def is_image(name: str) -> bool:
    """Whether a name ends as that of an image that can be read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def is_plain(name: str) -> bool:
    """Whether no part of a relative name is hidden or a system's own."""
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") or part in _NOT_OURS for part in parts)


def _fail(error: OSError) -> None:
    raise error


def _in_folder(place: Path) -> Iterator[str]:
    seen = set()
    for folder, inner, files in os.walk(place, onerror=_fail, followlinks=True):
        found, here = os.stat(folder), Path(folder)
        made = here != place and kind_of(here) is not None
        if made or (found.st_dev, found.st_ino) in seen:
            inner.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        inner[:] = sorted(name for name in inner if is_plain(name))
        yield from ((here / name).relative_to(place).as_posix() for name in files)


def _in_archive(place: zipfile.Path) -> Iterator[str]:
    start = place.at
    for name in place.root.namelist():
        if name.startswith(start) and not name.endswith("/"):
            yield name[len(start) :]
