"""What a data set is: images on demand, labels, names, and who is in which split."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from cgat_jax.data.digest import DataDigest
from cgat_jax.errors import InputError


class DataError(InputError):
    """One clear line, or a line per bad file: what is wrong, where, what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Positions into the data set, int64; the order within a list counts.

    ``sha256`` covers the name and the three lists of image ids: it says who is in it,
    whatever the positions are.
    """

    name: str
    train: np.ndarray
    query: np.ndarray
    database: np.ndarray
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """M images with multi-hot labels, in a fixed order.

    ``labels`` is uint8 [M, C] of {0, 1}; ``image_ids`` are names that a user
    recognizes. ``read(position)`` decodes one image to RGB uint8 [h, w, 3]; it is pure
    and may be called from several threads.

    ``sizes()`` is int [M, 2], widths and heights of what ``read`` returns, without
    decoding any image; ``contents`` is uint64 [M], digests of the original images;
    ``digest`` says which data these are, wherever they lie. Each is None where it is
    not known; ``load_dataset`` always gives a digest.
    """

    name: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    image_ids: Sequence[str]
    read: Callable[[int], np.ndarray]
    split: Split
    sizes: Callable[[], np.ndarray] | None = None
    contents: np.ndarray | None = None
    digest: DataDigest | None = None


def make_split(
    name: str,
    image_ids: Sequence[str],
    *,
    train: np.ndarray,
    query: np.ndarray,
    database: np.ndarray,
) -> Split:
    """A split with the digest of its name and members.

    Raises:
        DataError: if one of the three lists is empty.
    """
    parts = {"train": train, "query": query, "database": database}
    digest = hashlib.sha256(f"{name}\n".encode())
    for part, positions in parts.items():
        if len(positions) == 0:
            raise DataError(f"split {name!r} has no {part} images")
        lines = [f"{part} {len(positions)}", *(image_ids[i] for i in positions)]
        digest.update("\n".join([*lines, ""]).encode())
    parts = {part: np.asarray(rows, np.int64) for part, rows in parts.items()}
    return Split(name=name, sha256=digest.hexdigest(), **parts)


def describe(dataset: Dataset) -> list[str]:
    """Lines on sizes, labels, and what a user should know of the split."""
    return [
        describe_labels(dataset.name, dataset.labels),
        *describe_split(dataset.labels, dataset.split),
    ]


def describe_labels(name: str, labels: np.ndarray) -> str:
    """A line on a data set and its labels, uint8 [M, C]."""
    images, classes = labels.shape
    mean = labels.sum() / images
    return f"{name}: {images:,} images, {classes} classes, {mean:.2f} labels per image"


def describe_split(labels: np.ndarray, split: Split) -> list[str]:
    """Lines on the sizes of a split and on what a user should know of it."""
    return [
        f"split {split.name}: {len(split.train):,} train, {len(split.query):,} query, "
        f"{len(split.database):,} database images; sha256 {split.sha256[:12]}",
        *repeats(split),
        *unlabeled(labels, split),
    ]


def repeats(split: Split) -> list[str]:
    """Lines with counts of images that are in a list twice or in two, if any."""
    lines = []
    for part, rows in parts_of(split).items():
        if repeated := len(rows) - len(np.unique(rows)):
            lines.append(f"{part} list: {repeated:,} repeated lines, kept")
    for part in ("database", "train"):
        if shared := len(np.intersect1d(split.query, parts_of(split)[part])):
            lines.append(f"{shared:,} query images are also in the {part} list")
    if outside := len(np.setdiff1d(split.train, split.database)):
        lines.append(f"{outside:,} training images are not in the database")
    return lines


def unlabeled(labels: np.ndarray, split: Split) -> list[str]:
    """Lines with counts of list rows that have no label, if any."""
    return [
        f"{part} list: {bare:,} images without any label, kept"
        for part, rows in parts_of(split).items()
        if (bare := int((~labels[rows].any(axis=1)).sum()))
    ]


def parts_of(split: Split) -> dict[str, np.ndarray]:
    """The three lists of positions by name."""
    return {"train": split.train, "query": split.query, "database": split.database}
