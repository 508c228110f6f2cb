"""Writes listed images into ArrayRecord files, with tensorflow-datasets.

TensorFlow itself is not needed, and that shapes two things. A TFDS split of over 1 GB
goes through TensorFlow's file system, so the images are cut into many splits, the
parts; and TFDS stores a split in the order of hashed keys unless told not to shuffle.

Each part is written by a builder of its own and then marked, so that an interrupted
preparation goes on with the first part that has no valid mark.
"""

import collections
import contextlib
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.writer import ExampleWriter
from tensorflow_datasets.proto import tf_example_pb2
from tqdm import tqdm

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.listing import Listing
from cgat_jax.data.parts import Part, cut, is_complete, mark, read_mark

MAX_ERRORS = 20
_VERSION = "1.0.0"


class _UnusableError(Exception):
    """The part holds images that are not usable; they were noted."""


class _SortedFields(ExampleWriter):
    """Writes the same bytes in every process: protobuf's own order of fields varies."""

    def write(self, path, examples):
        def sort(serialized):
            example = tf_example_pb2.Example.FromString(serialized)
            return example.SerializeToString(deterministic=True)

        return super().write(path, ((key, sort(data)) for key, data in examples))


class ImagesOfPart(tfds.core.GeneratorBasedBuilder):
    """Images with multi-hot labels and their names, in the order of a listing."""

    name = "hashing_images"
    VERSION = tfds.core.Version(_VERSION)
    RELEASE_NOTES = {_VERSION: "First version."}

    def __init__(self, *, listing: Listing, part: Part, records, **options):
        self._listing = listing
        self._part = part
        self._records = records
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Prepared from {self._listing.name}.",
            features=_features(self._listing),
            disable_shuffling=True,
        )

    def _example_writer(self) -> ExampleWriter:
        return _SortedFields(self.info.file_format)

    def _split_generators(self, dl_manager) -> dict:
        return {self._part.name: self._generate_examples()}

    def _generate_examples(self):
        for position, data in self._records:
            yield (
                position,
                {
                    "image": data,
                    "labels": self._listing.labels[position],
                    "image_id": self._listing.image_ids[position],
                },
            )


def build(
    listing: Listing, folder: Path, image_size: int, threads: int, progress: bool
) -> Path:
    """Writes the images below ``folder`` and returns the folder of the files.

    Parts that an earlier call has finished are kept, if they are of the same images
    and undamaged; the files do not depend on how often the work was interrupted.

    Raises:
        DataError: names up to 20 files that are not usable images; parts without one
            are kept for the next call.
    """
    parts = cut(listing, image_size)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_others(folder, parts)
    errors: list[str] = []
    with _bar(listing, progress) as bar, ThreadPoolExecutor(threads) as pool:
        for part in parts:
            if not is_complete(folder, part):
                records = encode(listing, part, image_size, pool, 4 * threads, errors)
                _write(listing, part, folder, _counted(records, bar), errors)
            bar.update(max(0, part.stop - bar.n))
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        more = f"{len(errors)} or more" if len(errors) == MAX_ERRORS else len(errors)
        raise DataError("\n".join([f"{more} images are not usable:", *errors]))
    return _assemble(listing, parts, folder)


def encode(
    listing: Listing,
    part: Part,
    image_size: int,
    pool: ThreadPoolExecutor,
    depth: int,
    errors: list[str],
) -> Iterator[tuple[int, bytes]]:
    """Yields (position, bytes to store) of a part's good images, in order.

    Args:
        listing: of all images.
        part: the positions.
        image_size: largest short side to store.
        pool: decodes up to ``depth`` images ahead.
        depth: images begun and not taken.
        errors: gets a line for each bad image; at 20 lines the rest is not read.

    Raises:
        _UnusableError: after the last image, if any was bad.
    """

    def work(position: int) -> bytes:
        data = listing.read(position)
        return images.store(data, listing.image_ids[position], image_size)

    positions, before = range(part.start, part.stop), len(errors)
    for position, future in zip(
        positions, _ahead(pool, work, positions, depth), strict=True
    ):
        try:
            yield position, future.result()
        except (DataError, OSError) as error:
            errors.append(str(error))
        if len(errors) == MAX_ERRORS:
            break
    if len(errors) > before:
        raise _UnusableError


def _ahead(pool, work, positions: range, depth: int) -> Iterator[Future]:
    """Futures in order, at most ``depth`` of them begun and not taken."""
    rest = iter(positions)
    begun = collections.deque(
        pool.submit(work, position) for position in itertools.islice(rest, depth)
    )
    while begun:
        yield begun.popleft()
        begun.extend(pool.submit(work, i) for i in itertools.islice(rest, 1))


def _write(
    listing: Listing, part: Part, folder: Path, records, errors: list[str]
) -> None:
    """Writes one part and marks it, unless it has bad images."""
    shutil.rmtree(folder / part.name, ignore_errors=True)
    builder = ImagesOfPart(
        listing=listing, part=part, records=records, data_dir=str(folder / part.name)
    )
    try:
        with _quiet_tfds():
            builder.download_and_prepare()
    except _UnusableError:
        shutil.rmtree(folder / part.name, ignore_errors=True)
        return
    split = builder.info.splits[part.name]
    mark(folder, part, Path(builder.data_dir), split.num_bytes)


def _assemble(listing: Listing, parts: list[Part], folder: Path) -> Path:
    """Moves the parts' files into one TFDS data set, which ``build`` returns."""
    together = folder / "together" / ImagesOfPart.name / _VERSION
    shutil.rmtree(folder / "together", ignore_errors=True)
    together.mkdir(parents=True)
    splits = []
    for part in parts:
        found = read_mark(folder, part)
        for file in found["files"]:
            _share(folder / file, together / Path(file).name)
        info = tfds.core.SplitInfo(
            name=part.name,
            shard_lengths=[part.stop - part.start],
            num_bytes=found["num_bytes"],
        )
        splits.append(info)
    with _quiet_tfds():
        tfds.folder_dataset.write_metadata(
            data_dir=together,
            features=_features(listing),
            split_infos=splits,
            version=_VERSION,
            check_data=False,
            description=f"Prepared from {listing.name}.",
            disable_shuffling=True,
        )
    return together


def _share(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # a file system without links
        shutil.copyfile(file, target)


def _features(listing: Listing) -> tfds.features.FeaturesDict:
    classes = listing.labels.shape[1]
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "labels": tfds.features.Tensor(shape=(classes,), dtype=np.uint8),
            "image_id": tfds.features.Text(),
        }
    )


def _remove_others(folder: Path, parts: list[Part]) -> None:
    """Removes what belongs to another cut, or was being written at a kill."""
    names = {part.name for part in parts} | {f"{part.name}.json" for part in parts}
    for entry in folder.iterdir():
        if entry.name not in names:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _bar(listing: Listing, progress: bool) -> tqdm:
    return tqdm(
        total=len(listing.image_ids),
        desc="preparing images",
        unit="img",
        disable=None if progress else True,
    )


def _counted(records: Iterator, bar: tqdm) -> Iterator:
    for record in records:
        yield record
        bar.update()


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
