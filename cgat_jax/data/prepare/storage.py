"""ArrayRecord files, written with tensorflow-datasets, and one data set made of many.

TensorFlow itself is not needed, and that shapes two things. A TFDS split of over 1 GB
goes through TensorFlow's file system, so the images are cut into many splits, the
parts; and TFDS stores a split in the order of hashed keys unless told not to shuffle.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.writer import ExampleWriter
from tensorflow_datasets.proto import tf_example_pb2

from cgat_jax.data.prepare.shards import Shard, read_marker
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.files.io import file_digest

_VERSION = "1.0.0"


class Built(NamedTuple):
    """A folder of files with M images.

    ``contents`` is uint64 [M], digests of the originals' contents; ``sizes`` int32
    [M, 2], widths and heights as stored; ``files`` are digests of the files by name.
    """

    folder: Path
    contents: np.ndarray
    sizes: np.ndarray
    files: dict[str, str]


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

    def __init__(self, *, listing: SourceIndex, part: Shard, records, **options):
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
        for record in self._records:
            yield (
                record.position,
                {
                    "image": record.data,
                    "labels": self._listing.labels[record.position],
                    "image_id": self._listing.image_ids[record.position],
                },
            )


def assemble(listing: SourceIndex, parts: list[Shard], folder: Path) -> Built:
    """Joins the parts' files to one TFDS data set."""
    together = folder / "together" / ImagesOfPart.name / _VERSION
    shutil.rmtree(folder / "together", ignore_errors=True)
    together.mkdir(parents=True)
    splits, contents, sizes, files = [], [], [], {}
    for part in parts:
        found = read_marker(folder, part)
        contents += (int(content, 16) for content in found["contents"])
        sizes += found["sizes"]
        for file, digest in found["files"].items():
            files[Path(file).name] = digest
            _share(folder / file, together / Path(file).name)
        info = tfds.core.SplitInfo(
            name=part.name,
            shard_lengths=[part.stop - part.start],
            num_bytes=found["num_bytes"],
        )
        splits.append(info)
    with quiet_tfds():
        tfds.folder_dataset.write_metadata(
            data_dir=together,
            features=_features(listing),
            split_infos=splits,
            version=_VERSION,
            check_data=False,
            description=f"Prepared from {listing.name}.",
            disable_shuffling=True,
        )
    files |= {path.name: file_digest(path) for path in together.glob("*.json")}
    shape = (len(listing.image_ids), 2)
    return Built(
        folder=together,
        contents=np.array(contents, np.uint64),
        sizes=np.array(sizes, np.int32).reshape(shape),
        files=files,
    )


def _share(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # a file system without links
        shutil.copyfile(file, target)


def _features(listing: SourceIndex) -> tfds.features.FeaturesDict:
    classes = listing.labels.shape[1]
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "labels": tfds.features.Tensor(shape=(classes,), dtype=np.uint8),
            "image_id": tfds.features.Text(),
        }
    )


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Lets warnings of TFDS pass, but not its bars and a log line for each part."""
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
