"""Sealed arrays: ``.npy`` files with one more line at their end, their digest.

``numpy.load`` reads them as well.
"""

import hashlib
import io
import math
import re
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import replace_file

_TRAILER = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_MAX_HEADER = 10_000


def digest_of(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and values."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()


def save_array(path: Path, array: np.ndarray, *, of: str = "") -> None:
    """Writes an array as ``.npy`` with a seal behind it: whole or not at all.

    Args:
        path: the file.
        array: of numbers.
        of: what it is of; in the seal, so that no other array passes for it.
    """

    def write(file: IO[bytes]) -> None:
        np.save(file, array, allow_pickle=False)
        file.write(f"\nsha256 {_array_seal(np.asarray(array), of)}\n".encode())

    replace_file(path, write)


def _array_seal(array: np.ndarray, of: str) -> str:
    return hashlib.sha256(f"{of}\n{digest_of(array)}".encode()).hexdigest()


def load_array(
    path: Path,
    *,
    shape: tuple[int | None, ...],
    dtype: Any,
    low=None,
    high=None,
    of: str = "",
    sealed: bool = False,
) -> np.ndarray:
    """An array that ``save_array`` wrote, checked.

    Args:
        path: the file.
        of: what it is of, as it was written.
        sealed: refuse a ``.npy`` file without seal; else one, from before there were
            any, is taken if it has the shape, the type and the range.
        shape: expected; None for an axis of any length.
        dtype: expected.
        low: least allowed value, if there is one.
        high: largest allowed value, if there is one.

    Raises:
        DamagedFileError: names the file and what is wrong.
        OSError: it cannot be read.
    """
    array, trailer = _parse_npy(path.read_bytes(), path)
    found = _TRAILER.fullmatch(trailer)
    if (trailer or sealed) and (
        not found or found[1].decode() != _array_seal(array, of)
    ):
        raise DamagedFileError(f"{path}: damaged, its digest does not match")
    same = len(array.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not same or array.dtype != np.dtype(dtype):
        wanted = tuple("any" if side is None else side for side in shape)
        raise DamagedFileError(
            f"{path}: expected {np.dtype(dtype)} {wanted}, found {array.dtype} "
            f"{array.shape}"
        )
    outside = (low is not None and (array < low).any()) or (
        high is not None and (array > high).any()
    )
    if outside:
        raise DamagedFileError(f"{path}: damaged, values outside of {low} to {high}")
    return array


def _parse_npy(content: bytes, path: Path) -> tuple[np.ndarray, bytes]:
    """The array of a ``.npy`` file and what follows it; nothing is allocated first."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream, max_header_size=_MAX_HEADER)
        size = math.prod(shape) * dtype.itemsize
        start = stream.tell()
        if dtype.hasobject or size < 0 or start + size > len(content):
            raise ValueError("it is shorter than its header says")
        array = np.frombuffer(content[start : start + size], dtype)
        array = array.reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # whatever damaged bytes lead the parser to
        text = " ".join(str(error).split())[:120]
        raise DamagedFileError(f"{path}: damaged, not a .npy file: {text}") from error
    return array.copy(), content[start + size :]
