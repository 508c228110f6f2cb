"""Batches of NumPy arrays, a pure function of (data, seed, step).

Step ``t`` belongs to epoch ``t // num_steps``. The order of an epoch and the crops in
it are drawn from (seed, stage, epoch), the crop of a row does not depend on its place
in the order: so any step can be made without the steps before, and the number of
threads and of hosts changes nothing.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from cgat_jax.data.dataset import DataError, Dataset
from cgat_jax.data.images import center_crop, random_crop
from cgat_jax.data.stream import in_threads
from cgat_jax.rng import host_stream
from cgat_jax.types import Batch

EVERY_ROW = slice(None)


def steps_per_epoch(num_rows: int, batch_size: int, *, drop_last: bool) -> int:
    """Number of batches that ``num_rows`` rows make.

    Raises:
        DataError: if that is none.
    """
    num_steps = num_rows // batch_size if drop_last else -(-num_rows // batch_size)
    if not num_steps:
        raise DataError(
            f"{num_rows} training images make no batch of {batch_size}; lower "
            "batch_size or set drop_last=False"
        )
    return num_steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batching:
    """How the training images of a stage become batches.

    Attributes:
        crop_size: side of the square images.
        batch_size: rows of the whole batch, over all hosts.
        seed: of the order and the crops.
        stage: of training; each has an order and crops of its own.
        augment: random crop and mirror image instead of the center crop.
        drop_last: leaves out the partial batch of each epoch.
        threads: batches made at the same time; 0 makes them when they are asked for.
        padded: rows that every batch is padded to, where devices are to share one that
            they do not divide; 0: none.
    """

    crop_size: int
    batch_size: int
    seed: int
    stage: str
    augment: bool = True
    drop_last: bool = False
    threads: int = 0
    padded: int = 0


def train_batches(
    dataset: Dataset, how: Batching, steps: range, *, rows: slice = EVERY_ROW
) -> Iterator[Batch]:
    """Yields the batches of those steps.

    Images are uint8 [B, crop_size, crop_size, 3], for the step to divide by 255 on the
    device; labels float32 [B, C]; ``indices`` int32 [B] are rows of ``split.train``.
    A partial last batch of an epoch is padded: see ``Batch``.

    Args:
        dataset: whose ``split.train`` is read, each row once an epoch.
        how: the batches are made.
        steps: counted over all epochs; those that are left out cost nothing.
        rows: the part of each batch that this host feeds.

    Raises:
        DataError: an image is smaller than ``crop_size``; or no batch is full.
    """
    train, batch_size, stage = dataset.split.train, how.batch_size, how.stage
    epoch_steps = steps_per_epoch(len(train), batch_size, drop_last=how.drop_last)

    @functools.lru_cache(maxsize=4)
    def draw(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        order = host_stream(how.seed, f"order/{stage}", epoch).permutation(len(train))
        crops = host_stream(how.seed, f"crops/{stage}", epoch)
        return order, crops.random((len(train), 3))

    def make(number: int) -> Batch:
        epoch, place = divmod(steps[number], epoch_steps)
        order, draws = draw(epoch)
        indices = _window(order, place, batch_size, how.padded)[rows]

        def crop(row: int) -> np.ndarray:
            image = _large_enough(dataset, int(train[row]), how.crop_size)
            if not how.augment:
                return center_crop(image, how.crop_size)
            return random_crop(image, how.crop_size, draws[row])

        return _assemble(dataset, train, indices, crop, how.crop_size)

    return in_threads(make, len(steps), how.threads)


def eval_batches(
    dataset: Dataset,
    positions: np.ndarray,
    *,
    crop_size: int,
    batch_size: int,
    threads: int,
    rows: slice = EVERY_ROW,
) -> Iterator[Batch]:
    """Yields center crops of the images at ``positions``, in that order.

    As ``train_batches``, but ``indices`` are rows of ``positions``. The last batch is
    padded.

    Raises:
        DataError: an image is smaller than ``crop_size``.
    """

    def crop(row: int) -> np.ndarray:
        image = _large_enough(dataset, int(positions[row]), crop_size)
        return center_crop(image, crop_size)

    def make(step: int) -> Batch:
        indices = _window(np.arange(len(positions)), step, batch_size)[rows]
        return _assemble(dataset, positions, indices, crop, crop_size)

    return in_threads(make, -(-len(positions) // batch_size), threads)


def _window(
    order: np.ndarray, place: int, batch_size: int, padded: int = 0
) -> np.ndarray:
    """The ``place``-th batch of an order; len(order) where there is no row for it."""
    window = np.full(max(batch_size, padded), len(order), np.int32)
    taken = order[place * batch_size : (place + 1) * batch_size]
    window[: len(taken)] = taken
    return window


def _large_enough(dataset: Dataset, position: int, crop_size: int) -> np.ndarray:
    image = dataset.read(position)
    height, width = image.shape[:2]
    if min(height, width) < crop_size:
        raise DataError(
            f"{dataset.image_ids[position]}: {width} x {height} pixels, smaller "
            f"than data.crop_size={crop_size}; lower it or leave the image out"
        )
    return image


def _assemble(
    dataset: Dataset,
    positions: np.ndarray,
    indices: np.ndarray,
    crop: Callable[[int], np.ndarray],
    crop_size: int,
) -> Batch:
    mask = indices < len(positions)
    images = np.zeros((len(indices), crop_size, crop_size, 3), np.uint8)
    labels = np.zeros((len(indices), dataset.labels.shape[1]), np.float32)
    for place in np.flatnonzero(mask):
        images[place] = crop(int(indices[place]))
    labels[mask] = dataset.labels[positions[indices[mask]]]
    return Batch(images=images, labels=labels, indices=indices, mask=mask)
