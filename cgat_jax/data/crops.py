"""Images of any size, given as arrays, as the evaluation shows them to a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from cgat_jax.data.images import (
    center_crop,
    enlarged,
    resize_short_side,
    too_narrow,
)
from cgat_jax.errors import InputError


def center_crops(
    images: Sequence[Any] | np.ndarray,
    *,
    image_size: int,
    crop_size: int,
    enlarge: bool = True,
    first: int = 0,
) -> np.ndarray:
    """The centered squares of images whose short side was made ``image_size``.

    The filter and the rounding are those of the data preparation and of torchvision's
    ``Resize`` and ``CenterCrop`` on Pillow images. Images that are ``crop_size`` square
    already stay as they are.

    Args:
        images: n of them, one at least, RGB [h, w, 3] of any sizes; all uint8, or all
            floating point in [0, 1].
        image_size: short side in pixels before the crop.
        crop_size: side of the squares in pixels.
        enlarge: smaller images are enlarged to ``image_size``; else they are cropped
            as they are.
        first: the number of the first image in messages.

    Returns:
        [n, crop_size, crop_size, 3], uint8 or float32 in [0, 1].

    Raises:
        InputError: names the first image that cannot be used, and why.
    """
    crops = []
    for number, given in enumerate(images, start=first):
        image = _checked(np.asarray(given), number)
        if image.shape[:2] != (crop_size, crop_size):
            height, width = image.shape[:2]
            if enlarge and (clause := too_narrow(width, height, image_size)):
                raise InputError(f"image {number}: {clause}; crop it")
            image = center_crop(_resized(image, image_size, enlarge), crop_size)
        if image.shape[:2] != (crop_size, crop_size):
            size = "{1} x {0}".format(*np.shape(given))
            raise InputError(
                f"image {number}: {size} pixels, smaller than the network's {crop_size}"
            )
        crops.append(image)
    if len({image.dtype for image in crops}) > 1:
        raise InputError(
            "images: some are uint8 and some floating point; give one kind"
        )
    return np.stack(crops)


def _checked(image: np.ndarray, number: int) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        shape = list(image.shape)
        raise InputError(f"image {number}: expected RGB [h, w, 3], got shape {shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(
            f"image {number}: expected uint8 or floating point, got {image.dtype}"
        )
    low, high = float(image.min()), float(image.max())
    if not (0 <= low and high <= 1):
        raise InputError(
            f"image {number}: floating point pixels are in [0, 1], got {low:g} to "
            f"{high:g}"
        )
    return image.astype(np.float32)


def _resized(image: np.ndarray, size: int, enlarge: bool) -> np.ndarray:
    """The image with its short side made ``size``, with the same filter in any type."""
    if image.dtype == np.uint8:
        return resize_short_side(image, size, enlarge=enlarge)
    height, width = image.shape[:2]
    short = min(height, width)
    if short == size or (short < size and not enlarge):
        return image
    new_size, bilinear = enlarged(width, height, size), Image.Resampling.BILINEAR
    channels = [
        np.asarray(Image.fromarray(channel).resize(new_size, bilinear))
        for channel in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]
    return np.stack(channels, axis=-1).clip(0, 1)
