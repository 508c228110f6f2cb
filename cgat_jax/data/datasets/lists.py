"""Any folder of images with the field's six text files.

``{train,test,database}_img.txt`` hold one image path a line, relative to the folder
or to its ``images/``; ``{train,test,database}_label.txt`` one row of 0 and 1 a line,
in the same order; ``test`` are the queries. ``classes.txt``, a name a line, may be
added.

References:
    The format of the repositories of ProS-GAN and CgAT (for FLICKR-25K, NUS-WIDE and
    MS-COCO). Their lists repeat some lines and hold rows without a label; both are
    kept and counted.
"""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset, make_split, repeats, unlabeled
from cgat_jax.data.prepare.manifest import AGAIN
from cgat_jax.data.prepare.opened import dataset_of, open_prepared
from cgat_jax.data.sources.source_file import SourceFile, below, find, read_text, some
from cgat_jax.data.sources.source_index import SourceIndex

NAME = "lists"
FILES = {"train": "train", "query": "test", "database": "database"}


class Rows(NamedTuple):
    """The lines of the text files: {part: image names} and {part: uint8 [n, C]}."""

    names: dict[str, list[str]]
    labels: dict[str, np.ndarray]

    @property
    def width(self) -> int:
        """Number of label columns."""
        return next(iter(self.labels.values())).shape[1]


def scan_lists(places: Sequence[SourceFile]) -> SourceIndex:
    """Reads and checks the text files; every distinct path is listed once.

    Raises:
        DataError: a missing, empty or inconsistent file, a path that leaves the
            folder, or an image with two different label rows.
    """
    folder = find(places, "train_img.txt").parent
    listing, conflicts = merge(folder, read_rows(folder))
    if conflicts:
        raise DataError(
            f"{folder}: images with different label rows: {some(conflicts)}"
        )
    return listing


def read_rows(folder: SourceFile, *, optional: tuple[str, ...] = ()) -> Rows:
    """The text files of a folder, checked one by one and for equal columns.

    Args:
        folder: where the files are.
        optional: parts that may be absent, of train, query and database.

    Raises:
        DataError: a missing, empty or inconsistent file, or a path that leaves the
            folder.
    """
    there = {
        part: file
        for part, file in FILES.items()
        if part not in optional or (folder / f"{file}_img.txt").exists()
    }
    names = {part: _read_paths(folder, file) for part, file in there.items()}
    labels = {
        part: _read_labels(folder / f"{file}_label.txt", len(names[part]))
        for part, file in there.items()
    }
    widths = {f"{there[part]}_label.txt": labels[part].shape[1] for part in there}
    if len(set(widths.values())) > 1:
        raise DataError(f"{folder}: the files differ in columns: {widths}")
    return Rows(names, labels)


def merge(folder: SourceFile, rows: Rows) -> tuple[SourceIndex, list[str]]:
    """Every distinct image once, and the names of those with two label rows."""
    names = [name for part in FILES for name in rows.names[part]]
    labels = np.concatenate([rows.labels[part] for part in FILES])
    image_ids = tuple(dict.fromkeys(names))
    positions = {name: position for position, name in enumerate(image_ids)}
    where = np.array([positions[name] for name in names])
    merged = np.zeros((len(image_ids), labels.shape[1]), np.uint8)
    merged[where] = labels
    conflicts = np.flatnonzero((merged[where] != labels).any(axis=1))
    ends = np.cumsum([len(rows.names[part]) for part in FILES])[:-1]
    images = _image_folder(folder, image_ids[0])
    listing = SourceIndex(
        name=NAME,
        class_names=_read_classes(folder, labels.shape[1]),
        image_ids=image_ids,
        labels=merged,
        parts=dict(zip(FILES, np.split(where, ends), strict=True)),
        locate=lambda position: below(images, image_ids[position]),
    )
    return listing, list(dict.fromkeys(names[line] for line in conflicts))


def load_lists(settings: Data, root: Path) -> Dataset:
    """As ``open_lists``; logs what is odd about the lists.

    Warnings: repeated lines, queries in other lists, images without label.
    """
    dataset = open_lists(settings, root)
    logger = logging.getLogger(__name__)
    for line in (
        *repeats(dataset.split),
        *unlabeled(dataset.labels, dataset.split),
    ):
        logger.warning(line)
    return dataset


def open_lists(settings: Data, root: Path) -> Dataset:
    """The prepared data set; the split is the one of the files.

    Small images are enlarged as those of the other data sets are.

    Raises:
        DataError: not prepared, damaged, or prepared with other settings.
    """
    stored = open_prepared(root, NAME, settings.image_size)
    if not stored.parts:
        raise DataError(f"{root}: damaged (no lists of images); {AGAIN}")
    split = make_split(NAME, stored.image_ids, **stored.parts)
    return dataset_of(root, stored, split, settings)


def _image_folder(source: SourceFile, name: str) -> SourceFile:
    folder = source / "images"
    return folder if below(folder, name).is_file() else source


def _read_paths(source: SourceFile, file: str) -> list[str]:
    path = source / f"{file}_img.txt"
    lines = [line.strip() for line in read_text(path).splitlines()]
    if not lines:
        raise DataError(f"{path}: the file is empty")
    for number, line in enumerate(lines, 1):
        name = PurePosixPath(line)
        if not line or name.is_absolute() or ".." in name.parts:
            raise DataError(
                f"{path}, line {number}: expected a path below the folder, got {line!r}"
            )
    return [str(PurePosixPath(line)) for line in lines]


def _read_labels(path: SourceFile, count: int) -> np.ndarray:
    """uint8 [count, C] of a text file, checked line by line."""
    rows = [line.split() for line in read_text(path).splitlines()]
    if len(rows) != count:
        images = path.name.replace("_label", "_img")
        raise DataError(f"{path}: {len(rows):,} rows, but {images} has {count:,} lines")
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width or not width:
            raise DataError(
                f"{path}, line {number}: {len(row)} columns; line 1 has {width}"
            )
        if wrong := set(row) - {"0", "1"}:
            raise DataError(
                f"{path}, line {number}: expected 0 or 1, got {sorted(wrong)}"
            )
    return np.array([[word == "1" for word in row] for row in rows], np.uint8)


def _read_classes(source: SourceFile, width: int) -> tuple[str, ...]:
    path = source / "classes.txt"
    if not path.exists():
        return tuple(f"class {column}" for column in range(width))
    names = tuple(line.strip() for line in read_text(path).splitlines())
    if len(names) != width:
        raise DataError(f"{path}: {len(names)} names, but {width} label columns")
    return names
