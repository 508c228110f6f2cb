"""A data set from arrays: images that lie in memory, with their labels."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from cgat_jax.data.dataset import DataError, Dataset, make_split
from cgat_jax.data.digest import digest_contents, digest_data

_LEVELS, _ROUNDING = 255, 1e-3  # of a level: float32 arithmetic, not another image


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayData:
    """Images and labels of a retrieval task, as arrays.

    Images are uint8 [n, S, S, 3], or float in [0, 1] whose values are multiples of
    1/255, all of one size, which the network sees whole. Labels are multi-hot [n, C] of
    {0, 1}; two images are similar if they share one. Without training images, which
    attacks know the codes of, the database takes their place.

    >>> import numpy as np
    >>> from cgat_jax import ArrayData
    >>> images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.eye(4, dtype=np.uint8)
    >>> data = ArrayData(
    ...     query_images=images[:1],
    ...     query_labels=labels[:1],
    ...     database_images=images,
    ...     database_labels=labels,
    ... )
    >>> data.name
    'arrays'
    """

    query_images: Any
    query_labels: Any
    database_images: Any
    database_labels: Any
    train_images: Any = None
    train_labels: Any = None
    name: str = "arrays"
    class_names: Sequence[str] = ()


def array_dataset(data: ArrayData) -> Dataset:
    """The data set of arrays; positions count database, queries and training images.

    Arrays of uint8 are not copied: they must stay as they are while it is used.

    Raises:
        DataError: an array has another shape, type or range than ``ArrayData`` says.
    """
    parts = {"database": _pair(data, "database"), "query": _pair(data, "query")}
    if (data.train_images is None) != (data.train_labels is None):
        raise DataError("train_images and train_labels: give both, or neither")
    if data.train_images is not None:
        parts["train"] = _pair(data, "train")
    shapes = {f"{part}_images": images.shape[1:] for part, (images, _) in parts.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"images: expected all of one size, got {_listed(shapes)}")
    widths = {f"{part}_labels": labels.shape[1:] for part, (_, labels) in parts.items()}
    if len(set(widths.values())) > 1:
        raise DataError(f"labels: expected the same classes, got {_listed(widths)}")
    return _assembled(data, parts)


def _assembled(data: ArrayData, parts: dict[str, tuple]) -> Dataset:
    """The data set of arrays that have been checked, by part."""
    places = [(part, row) for part in parts for row in range(len(parts[part][0]))]
    ids = [f"{part}/{row:06d}" for part, row in places]
    labels = np.concatenate([labels for _, labels in parts.values()])
    positions, start = {}, 0
    for part, (images, _) in parts.items():
        positions[part] = np.arange(start, start + len(images))
        start += len(images)
    positions.setdefault("train", positions["database"])
    counts = "-".join(f"{len(positions[part])}{part[0]}" for part in sorted(positions))
    split = make_split(f"{data.name}-{counts}", ids, **positions)

    def read(position: int) -> UInt8[np.ndarray, "S S 3"]:
        part, row = places[position]
        return parts[part][0][row]

    side = parts["query"][0].shape[1]
    contents = np.array([_digest(read(i)) for i in range(len(ids))], np.uint64)
    how = digest_contents(contents, side=side)
    names = tuple(data.class_names) or tuple(
        f"class {number}" for number in range(labels.shape[1])
    )
    if len(names) != labels.shape[1]:
        raise DataError(
            f"class_names: expected {labels.shape[1]}, one a class, got {len(names)}"
        )
    return Dataset(
        name=data.name,
        class_names=names,
        labels=labels,
        image_ids=ids,
        read=read,
        split=split,
        sizes=lambda: np.full((len(ids), 2), side),
        contents=contents,
        digest=digest_data(labels, ids, split.sha256, how),
    )


def _pair(data: ArrayData, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a part, checked."""
    images = _pixels(getattr(data, f"{part}_images"), f"{part}_images")
    labels = _label_rows(getattr(data, f"{part}_labels"), f"{part}_labels")
    if len(images) != len(labels):
        raise DataError(
            f"{part}_labels: expected a row an image, got {len(labels):,} for "
            f"{len(images):,} images"
        )
    return images, labels


def _pixels(given: Any, name: str) -> UInt8[np.ndarray, "n S S 3"]:
    found = np.asarray(given)
    shape = found.shape
    if found.ndim != 4 or shape[1] != shape[2] or shape[3] != 3 or not found.size:
        hint = ""
        if found.ndim == 4 and shape[1] == 3:
            hint = "; channels come last: images.transpose(0, 2, 3, 1)"
        raise DataError(
            f"{name}: expected square images [n, S, S, 3], got {list(shape)}{hint}"
        )
    if found.dtype == np.uint8:
        return found
    if not np.issubdtype(found.dtype, np.floating):
        raise DataError(
            f"{name}: expected uint8, or float in [0, 1], got {found.dtype}"
        )
    if not (found.min() >= 0 and found.max() <= 1):
        raise DataError(
            f"{name}: expected values in [0, 1], got {found.min():g} to "
            f"{found.max():g}; normalize inside of the network"
        )
    levels = np.round(found * _LEVELS)
    if np.abs(found * _LEVELS - levels).max() > _ROUNDING:
        raise DataError(
            f"{name}: values between the 256 levels of 8 bits; give uint8 images, or "
            "round them: np.round(images * 255).astype(np.uint8)"
        )
    return levels.astype(np.uint8)


def _label_rows(given: Any, name: str) -> UInt8[np.ndarray, "n C"]:
    found = np.asarray(given)
    if found.ndim == 1:
        raise DataError(
            f"{name}: expected multi-hot rows [n, C], got {list(found.shape)}; of "
            "class numbers these are np.eye(C, dtype=np.uint8)[numbers]"
        )
    if found.ndim != 2 or not np.isin(found, (0, 1)).all():
        raise DataError(
            f"{name}: expected multi-hot rows [n, C] of {{0, 1}}, got "
            f"{list(found.shape)} with values {np.unique(found)[:4].tolist()}"
        )
    return found.astype(np.uint8)


def _digest(image: np.ndarray) -> int:
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
    return int.from_bytes(digest[:8], "little")


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
