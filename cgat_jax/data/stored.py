"""The images of a prepared folder, decoded on demand, and digests of the originals."""

from collections.abc import Callable
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import tensorflow_datasets as tfds

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepared import AGAIN, CONTENTS, IMAGES


def read_contents(root: Path, count: int) -> np.ndarray | None:
    """uint64 [count], digests of the original images' content, if they are there."""
    try:
        contents = np.load(root / CONTENTS, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return contents if contents.shape == (count,) else None


def reader(
    root: Path, image_ids: tuple[str, ...], *, enlarge_to: int = 0
) -> Callable[[int], np.ndarray]:
    """``read(position) -> RGB uint8 [h, w, 3]`` of the prepared images.

    Args:
        root: the prepared folder.
        image_ids: names of the images, for error messages.
        enlarge_to: images with a smaller short side are enlarged to it.

    Raises:
        DataError: if the files do not hold as many images as there are names.
    """
    try:
        builder = tfds.builder_from_directory(root / IMAGES)
        records = builder.as_data_source(
            split="all", decoders={"image": tfds.decode.SkipDecoding()}
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{root}: damaged ({error}); {AGAIN}") from error
    if len(records) != len(image_ids):
        counts = f"{len(records)} images, {len(image_ids)} names"
        raise DataError(f"{root}: damaged ({counts}); {AGAIN}")

    def read(position: SupportsIndex) -> np.ndarray:
        image = images.decode(records[position]["image"], image_ids[position])
        return images.resize_short_side(
            image, max(enlarge_to, min(image.shape[:2])), enlarge=True
        )

    return read
