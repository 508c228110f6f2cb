"""CIFAR-10: 60,000 photos of 32 x 32 pixels, one of ten classes each.

Read from the binary version (``data_batch_1.bin`` to ``data_batch_5.bin`` and
``test_batch.bin``) or the python version (the same names without ``.bin``), in their
archive or unpacked. The python version's files are pickles; they are read by an
unpickler that knows NumPy's byte arrays and nothing else, so no code in them runs.

References:
    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. The
    split is the field's: 100 queries a class out of the test images, 500 training
    images a class, all others and the training images are the database (59,000).
"""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset
from cgat_jax.data.datasets.splits import draw_balanced, load_prepared
from cgat_jax.data.sources.source_file import SourceFile, find, read_bytes, search
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.files.pickles import scan_pickle

NAME = "cifar10"
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SIDE = 32
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_PIXELS = 3 * SIDE**2
_MAX_BYTES = 200 * 10**6


def scan_cifar10(places: Sequence[SourceFile]) -> SourceIndex:
    """Reads the six batches; images are ``train/00000`` on, then ``test/00000`` on.

    Raises:
        DataError: a missing or damaged batch, or one that is not CIFAR-10's.
    """
    suffix = ".bin" if search(places, f"{_BATCHES[0]}.bin") else ""
    files = [find(places, f"{batch}{suffix}") for batch in _BATCHES]
    read = _read_binary if suffix else _read_pickled
    batches = [read(read_bytes(f, str(f), _MAX_BYTES), str(f)) for f in files]
    pixels = np.concatenate([pixels for pixels, _ in batches])
    classes = np.concatenate([classes for _, classes in batches])
    file_of = np.repeat(np.arange(len(files)), [len(rows) for rows, _ in batches])
    num_train = int((file_of < len(files) - 1).sum())
    names = [f"train/{i:05d}" for i in range(num_train)]
    names += [f"test/{i:05d}" for i in range(len(classes) - num_train)]
    return SourceIndex(
        name=NAME,
        class_names=CLASS_NAMES,
        image_ids=tuple(names),
        labels=np.eye(len(CLASS_NAMES), dtype=np.uint8)[classes],
        parts={},
        locate=lambda position: files[file_of[position]],
        extract=lambda position: _png(pixels[position]),
        pixels=lambda position: pixels[position].tobytes(),
    )


def load_cifar10(settings: Data, root: Path) -> Dataset:
    """The prepared data set with as many queries and training images of each class.

    Images are enlarged to ``image_size`` when read.

    Raises:
        DataError: not prepared, damaged, prepared with other settings, or fewer images
            of a class than the split needs.
    """
    return load_prepared(NAME, settings, root, draw_balanced)


def _png(pixels: UInt8[np.ndarray, " 3072"]) -> bytes:
    """The image of a row: red, green and blue planes, each row by row."""
    stream = io.BytesIO()
    image = pixels.reshape(3, SIDE, SIDE).transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG")
    return stream.getvalue()


def _read_binary(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, 3072] and classes uint8 [n] of a binary batch."""
    if not data or len(data) % (1 + _PIXELS):
        raise DataError(
            f"{name}: not a complete CIFAR-10 batch ({len(data):,} bytes, expected a "
            f"multiple of {1 + _PIXELS:,})"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return rows[:, 1:], _check_classes(rows[:, 0], name)


def _read_pickled(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, 3072] and classes uint8 [n] of a python batch."""
    try:
        scan_pickle(data)
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        batch = {_text(key): value for key, value in batch.items()}
        pixels, labels = batch["data"].values(), np.array(batch["labels"], np.int64)
        if not (len(labels) and pixels.shape == (len(labels), _PIXELS)):
            raise ValueError(f"{len(labels)} labels, pixels {pixels.shape}")
    except Exception as error:
        # Unpickling malformed bytes raises whatever they lead to.
        raise DataError(f"{name}: not a CIFAR-10 python batch ({error})") from error
    return pixels, _check_classes(labels, name)


def _check_classes(classes: np.ndarray, name: str) -> np.ndarray:
    if classes.min() < 0 or classes.max() >= len(CLASS_NAMES):
        raise DataError(f"{name}: classes outside of 0 to 9, not CIFAR-10's")
    return classes.astype(np.uint8)


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key


class _ArrayUnpickler(pickle.Unpickler):
    """Lists, dictionaries, numbers, strings, and NumPy arrays of bytes; nothing else.

    The names that such an array is pickled with stand for three things of ours, which
    keep its bytes and call nothing.
    """

    def find_class(self, module: str, name: str):
        arrays = ("numpy.core.multiarray", "numpy._core.multiarray")
        if name == "_reconstruct" and module in arrays:
            return _begin_array
        if (module, name) == ("numpy", "ndarray"):
            return _PickledArray
        if (module, name) == ("numpy", "dtype"):
            return _PickledByteType
        if (module, name) == ("_codecs", "encode"):
            return _latin_bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, refused")


class _PickledArray:
    """The shape and the bytes of a pickled array."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, kind, self.fortran, self.data = state
        if not isinstance(kind, _PickledByteType):
            raise pickle.UnpicklingError("an array of something else than bytes")

    def values(self) -> UInt8[np.ndarray, "..."]:
        """The array itself."""
        order = "F" if self.fortran else "C"
        return np.frombuffer(self.data, np.uint8).reshape(self.shape, order=order)


class _PickledByteType:
    """NumPy's type of unsigned bytes, and no other."""

    def __init__(self, code: str | bytes, *_):
        if _text(code) != "u1":
            raise pickle.UnpicklingError(f"an array of type {code!r}, expected bytes")

    def __setstate__(self, state: tuple) -> None:
        del state


def _begin_array(kind: type, *_) -> _PickledArray:
    return _PickledArray()


def _latin_bytes(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 pickles them in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")
