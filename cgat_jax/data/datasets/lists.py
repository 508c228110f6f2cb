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
from pathlib import Path, PurePosixPath

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset, make_split, repeats, unlabeled
from cgat_jax.data.listing import (
    Listing,
    read_text,
    require_files,
    require_folder,
    some,
)
from cgat_jax.data.prepared import open_prepared, reader

NAME = "lists"
_FILES = {"train": "train", "query": "test", "database": "database"}


def scan_lists(source: Path) -> Listing:
    """Reads and checks the text files; every distinct path is listed once.

    Raises:
        DataError: a missing, empty or inconsistent file, a missing image, a path that
            leaves the folder, or an image with two different label rows.
    """
    require_folder(source)
    names = {part: _read_paths(source, file) for part, file in _FILES.items()}
    labels = {
        part: _read_labels(source / f"{file}_label.txt", len(names[part]))
        for part, file in _FILES.items()
    }
    widths = {
        f"{file}_label.txt": labels[part].shape[1] for part, file in _FILES.items()
    }
    if len(set(widths.values())) > 1:
        raise DataError(f"{source}: the files differ in columns: {widths}")
    every_name = [name for part in _FILES for name in names[part]]
    every_row = np.concatenate([labels[part] for part in _FILES])
    image_ids = tuple(dict.fromkeys(every_name))
    positions = {name: position for position, name in enumerate(image_ids)}
    rows = np.array([positions[name] for name in every_name])
    ends = np.cumsum([len(names[part]) for part in _FILES])[:-1]
    listing = Listing(
        name=NAME,
        class_names=_read_classes(source, every_row.shape[1]),
        image_ids=image_ids,
        labels=_merge(source, every_name, every_row, rows),
        folder=_image_folder(source, image_ids[0]),
        parts=dict(zip(_FILES, np.split(rows, ends), strict=True)),
    )
    require_files(listing.folder, image_ids)
    return listing


def load_lists(settings: Data, root: Path) -> Dataset:
    """As ``open_lists``; logs what is odd about the lists.

    Warnings: repeated lines, queries in other lists. Information: images without label.
    """
    dataset = open_lists(settings, root)
    logger = logging.getLogger(__name__)
    for line in repeats(dataset.split):
        logger.warning(line)
    for line in unlabeled(dataset):
        logger.info(line)
    return dataset


def open_lists(settings: Data, root: Path) -> Dataset:
    """The prepared data set; the split is the one of the files.

    Raises:
        DataError: not prepared, damaged, or prepared with other settings.
    """
    stored = open_prepared(root, NAME, settings.image_size)
    return Dataset(
        name=NAME,
        class_names=stored.class_names,
        labels=stored.labels,
        image_ids=stored.image_ids,
        read=reader(root, stored.image_ids),
        split=make_split(NAME, stored.image_ids, **stored.parts),
    )


def _merge(
    source: Path, names: list[str], labels: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """One label row for each distinct name; ``rows`` says where each line's goes."""
    merged = np.zeros((rows.max() + 1, labels.shape[1]), np.uint8)
    merged[rows] = labels
    if len(conflicts := np.flatnonzero((merged[rows] != labels).any(axis=1))):
        twice = list(dict.fromkeys(names[line] for line in conflicts))
        raise DataError(f"{source}: images with different label rows: {some(twice)}")
    return merged


def _image_folder(source: Path, name: str) -> Path:
    folder = source / "images"
    return folder if (folder / name).is_file() else source


def _read_paths(source: Path, file: str) -> list[str]:
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


def _read_labels(path: Path, count: int) -> np.ndarray:
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


def _read_classes(source: Path, width: int) -> tuple[str, ...]:
    path = source / "classes.txt"
    if not path.exists():
        return tuple(f"class {column}" for column in range(width))
    names = tuple(line.strip() for line in read_text(path).splitlines())
    if len(names) != width:
        raise DataError(f"{path}: {len(names)} names, but {width} label columns")
    return names
