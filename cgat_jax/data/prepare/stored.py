"""The images of a prepared folder, decoded on demand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare.manifest import AGAIN, IMAGES, Manifest, check_files

_RECORDS = "*.array_record*"


class Records:
    """The encoded images of a prepared folder by position; checked when read."""

    def __init__(self, root: Path, manifest: Manifest):
        """Opens the files.

        Raises:
            DataError: a file is missing or damaged, or they do not hold as many images
                as there are names.
        """
        self._root, self._image_ids = root, manifest.image_ids
        if lines := check_files(root, manifest, ".json"):
            raise DataError(f"{root}: damaged ({lines[0]}); {AGAIN}")
        names = [name for name in manifest.files if not name.endswith(".json")]
        paths = [root / IMAGES / name for name in names]
        paths = sorted(paths or (root / IMAGES).glob(_RECORDS))
        try:
            self._source = ArrayRecordDataSource([str(path) for path in paths])
            found = len(self._source)
        except Exception as error:  # RuntimeError, where the file is not sound
            reason = " ".join(str(error).split())
            where = root / IMAGES
            raise DataError(f"{root}: damaged ({where}: {reason}); {AGAIN}") from error
        if found != len(self._image_ids):
            counts = f"{found} images, {len(self._image_ids)} names"
            raise DataError(f"{root}: damaged ({counts}); {AGAIN}")

    def __getitem__(self, position: int) -> bytes:
        """The encoded image.

        Raises:
            DataError: damaged, or another image than the one of that name.
        """
        name = self._image_ids[position]
        try:
            record = self._source[position]
            example = tf_example_pb2.Example.FromString(record).features.feature
            (stored,) = example["image_id"].bytes_list.value
            (data,) = example["image"].bytes_list.value
            if stored != name.encode():
                raise ValueError(f"image {stored!r:.80} is in its place")
        except Exception as error:  # whatever damaged bytes lead the parsers to
            raise DataError(self.damage(position, error)) from error
        return data

    def damage(self, position: int, error: object) -> str:
        """The line on an image that is not readable."""
        reason = " ".join(str(error).split())
        name = self._image_ids[position]
        return f"{self._root}: image {name} is damaged ({reason}); {AGAIN}"


def reader(
    root: Path, manifest: Manifest, *, enlarge_to: int = 0
) -> Callable[[SupportsIndex], np.ndarray]:
    """``read(position) -> RGB uint8 [h, w, 3]`` of the prepared images.

    Args:
        root: the prepared folder.
        manifest: of it.
        enlarge_to: images with a smaller short side are enlarged to it.

    Raises:
        DataError: if the files do not hold as many images as there are names.
    """
    records = Records(root, manifest)

    def read(position: SupportsIndex) -> np.ndarray:
        row = int(position)
        data = records[row]
        try:
            image = images.decode(data, manifest.image_ids[row])
        except DataError as error:
            raise type(error)(records.damage(row, error)) from error
        return images.resize_short_side(
            image, max(enlarge_to, min(image.shape[:2])), enlarge=True
        )

    return read


def sizes_of(root: Path, manifest: Manifest, kept: np.ndarray | None) -> np.ndarray:
    """int32 [M, 2], widths and heights of the stored images.

    Args:
        root: the prepared folder.
        manifest: of it.
        kept: the sizes, where they were kept; else the images' headers are read.

    Raises:
        DataError: an image is damaged.
    """
    if kept is not None:
        return kept
    records, names = Records(root, manifest), manifest.image_ids
    sizes: Sequence[tuple[int, int]] = [
        images.size_of(records[row], name) for row, name in enumerate(names)
    ]
    return np.array(sizes, np.int32).reshape(len(names), 2)
