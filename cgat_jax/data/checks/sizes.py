"""Whether images are large enough for the crop, before anything is trained."""

import numpy as np

from cgat_jax.data.dataset import DataError, Dataset, parts_of
from cgat_jax.data.images import MAX_PIXELS, enlarged
from cgat_jax.data.sources.source_file import some


def read_sizes(stored: np.ndarray, enlarge_to: int) -> np.ndarray:
    """Int [M, 2], widths and heights once images are enlarged to a short side."""
    short = stored.min(axis=1)
    sizes = stored.astype(np.int64)
    for row in np.flatnonzero(short < enlarge_to):
        width, height = sizes[row].tolist()
        sizes[row] = enlarged(width, height, enlarge_to)
    return sizes


def smaller_than(sizes: np.ndarray, image_ids, side: int, rows=None) -> list[str]:
    """``name (w x h)`` of the images with a side below ``side`` pixels.

    Args:
        sizes: int [M, 2], widths and heights.
        image_ids: the M names.
        side: in pixels.
        rows: positions that count; None: all.
    """
    small = np.flatnonzero(sizes.min(axis=1) < side)
    if rows is not None:
        small = np.intersect1d(small, rows)
    return _with_sizes(sizes, image_ids, small)


def _with_sizes(sizes: np.ndarray, image_ids, rows) -> list[str]:
    return [f"{image_ids[i]} ({sizes[i][0]} x {sizes[i][1]})" for i in rows]


def check_sizes(dataset: Dataset, crop_size: int) -> None:
    """Finds that every image of the split is at least as large as the crop.

    And that none is so narrow that it is over 50 megapixels once it is enlarged.

    Raises:
        DataError: counts those that are not, and names the first ten with their sizes.
    """
    rows = np.unique(np.concatenate([*parts_of(dataset.split).values()]))
    if dataset.sizes is not None:
        sizes = dataset.sizes()
    else:
        sizes = np.full((len(dataset.image_ids), 2), crop_size)
        sizes[rows] = [dataset.read(int(row)).shape[1::-1] for row in rows]
    huge = rows[sizes[rows].prod(axis=1, dtype=np.int64) > MAX_PIXELS]
    if len(huge):
        raise DataError(
            f"{len(huge):,} of {len(rows):,} images are over 50 megapixels once they "
            f"are enlarged: {some(_with_sizes(sizes, dataset.image_ids, huge))}; crop "
            "them, or leave them out"
        )
    small = smaller_than(sizes, dataset.image_ids, crop_size, rows)
    if small:
        raise DataError(
            f"{len(small):,} of {len(rows):,} images are smaller than "
            f"data.crop_size={crop_size}: {some(small)}; set data.enlarge=True, lower "
            "data.crop_size, or leave them out"
        )
