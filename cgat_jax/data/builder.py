"""Writes listed images into ArrayRecord files, with tensorflow-datasets.

TensorFlow itself is not needed, and that shapes two things. A TFDS split of over 1 GB
goes through TensorFlow's file system, so the images are cut into many splits; and TFDS
stores a split in the order of hashed keys unless told not to shuffle.
"""

import collections
import contextlib
import io
import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tqdm import tqdm

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.listing import Listing

MAX_ERRORS = 20
_PART = 1024
_PART_BYTES = 500 * 10**6

Record = tuple[int, bytes]


class HashingImages(tfds.core.GeneratorBasedBuilder):
    """Images with multi-hot labels and their names, in the order of a listing."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def __init__(
        self, *, listing: Listing, records: Iterator[Record], part: int, **options
    ):
        self._listing = listing
        self._records = records
        self._part = part
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        num_classes = self._listing.labels.shape[1]
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "labels": tfds.features.Tensor(shape=(num_classes,), dtype=np.uint8),
            "image_id": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Prepared from {self._listing.name}.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict:
        stops = range(self._part, len(self._listing.image_ids) + self._part, self._part)
        return {
            f"part_{part:05d}": self._generate_examples(stop)
            for part, stop in enumerate(stops)
        }

    def _generate_examples(self, stop: int):
        """Yields records up to ``stop``; the last part reads them to their end."""
        last = stop >= len(self._listing.image_ids)
        for position, data in self._records:
            yield (
                position,
                {
                    "image": data,
                    "labels": self._listing.labels[position],
                    "image_id": self._listing.image_ids[position],
                },
            )
            if position + 1 == stop and not last:
                return


def build(
    listing: Listing, folder: Path, image_size: int, threads: int, progress: bool
) -> Path:
    """Writes the images below ``folder`` and returns the folder of the files.

    Raises:
        DataError: names up to 20 files that are not usable images; nothing is kept.
    """
    with tqdm(
        encode(listing, image_size, threads),
        total=len(listing.image_ids),
        desc="preparing images",
        unit="img",
        disable=None if progress else True,
    ) as records:
        builder = HashingImages(
            listing=listing,
            records=iter(records),
            part=images_per_part(image_size),
            data_dir=str(folder),
        )
        with _quiet_tfds():
            builder.download_and_prepare()
    return Path(builder.data_dir)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Lets warnings of TFDS pass, but not its bars and a log line for each part."""
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def images_per_part(image_size: int) -> int:
    """How many images of that short side stay well below 1 GB, even as PNG."""
    bytes_each = 5 * image_size**2
    return max(1, min(_PART, _PART_BYTES // bytes_each))


def encode(listing: Listing, image_size: int, threads: int) -> Iterator[Record]:
    """Yields (position, bytes to store) of the good images, in order.

    Raises:
        DataError: after the last image or the 20th bad one, with a line for each.
    """

    def work(name: str) -> bytes:
        path = listing.folder / name
        if path.stat().st_size > images.MAX_BYTES:
            raise DataError(f"{name}: over 50 MB, not read")
        return images.store(path.read_bytes(), name, image_size)

    errors: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        for position, future in enumerate(_ahead(pool, work, listing, 4 * threads)):
            try:
                yield position, future.result()
            except (DataError, OSError) as error:
                errors.append(str(error))
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        more = f"{len(errors)} or more" if len(errors) == MAX_ERRORS else len(errors)
        raise DataError("\n".join([f"{more} images are not usable:", *errors]))


def _ahead(pool, work, listing: Listing, depth: int) -> Iterator[Future]:
    """Futures in order, at most ``depth`` of them begun and not taken."""
    names = iter(listing.image_ids)
    begun = collections.deque(
        pool.submit(work, name) for name in itertools.islice(names, depth)
    )
    while begun:
        yield begun.popleft()
        begun.extend(pool.submit(work, name) for name in itertools.islice(names, 1))
