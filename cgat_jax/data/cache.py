"""Keeping decoded images in memory."""

import threading
from collections.abc import Callable

import numpy as np


def cached(
    read: Callable[[int], np.ndarray], limit: int
) -> Callable[[int], np.ndarray]:
    """``read`` that keeps the first images it makes, up to ``limit`` bytes in all."""
    images: dict[int, np.ndarray] = {}
    lock = threading.Lock()
    size = 0

    def read_cached(position: int) -> np.ndarray:
        nonlocal size
        if (image := images.get(position)) is not None:
            return image
        image = read(position)
        with lock:
            if position not in images and size + image.nbytes <= limit:
                images[position] = image
                size += image.nbytes
        return image

    return read_cached
