"""Files: written whole or not at all, and read back only as they were written.

What feeds a number is *sealed*: it carries a digest of itself, which is checked when it
is read. A sealed array is a ``.npy`` file with one more line at its end, so that
``numpy.load`` reads it as well; a sealed JSON object has a key ``sha256``.
"""

import contextlib
import glob
import hashlib
import io
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgat_jax.errors import DamagedFileError

SEAL = "sha256"
_TRAILER = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_MAX_HEADER = 10_000
_log = logging.getLogger(__name__)


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Has ``write(file)`` fill a file that then appears under ``path``, whole.

    Raises:
        OSError: it cannot be written; names the path. What was there stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_partials(folder: Path, names: Iterable[str]) -> None:
    """Removes what processes left that were killed while they wrote these files.

    Only for a folder that is ours and that no other process writes to.
    """
    for name in names:
        for partial in folder.glob(f".{glob.escape(name)}.*.partial"):
            if partial.name.split(".")[-2].isdecimal():
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Has what the system cannot do with a file name the file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file: whole or not at all."""
    replace_file(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file: whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Writes JSON; a value that is not finite is an error, not a file."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """The content of a UTF-8 file that this package wrote.

    Raises:
        DamagedFileError: it is no UTF-8 text.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path}: damaged, not UTF-8 text: {error}") from error


def parse_json(text: str, name: object) -> dict[str, Any]:
    """A JSON object; ``name`` is what errors call it.

    Raises:
        DamagedFileError: it is something else, or no JSON at all.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DamagedFileError(f"{name}: damaged, not valid JSON: {error}") from error
    except RecursionError as error:
        raise DamagedFileError(f"{name}: damaged, nested too deep") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DamagedFileError(f"{name}: damaged, expected a JSON object, got {kind}")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DamagedFileError: the file holds something else.
        OSError: it cannot be read.
    """
    return parse_json(read_text(path), path)


def seal_of(content: dict[str, Any]) -> str:
    """Digest of a JSON object, without its own key ``sha256``."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object with its digest."""
    write_json(path, content | {SEAL: seal_of(content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """A JSON object that ``write_sealed`` wrote, without its digest.

    One without a digest, from before there were any, is taken as it is.

    Raises:
        DamagedFileError: it is not as it was written.
        OSError: it cannot be read.
    """
    return unsealed(read_json(path), path)


def unsealed(content: dict[str, Any], name: object) -> dict[str, Any]:
    """A sealed JSON object without its digest, which is checked.

    Raises:
        DamagedFileError: the digest is another one; names it by ``name``.
    """
    try:
        sound = SEAL not in content or content[SEAL] == seal_of(content)
    except (ValueError, RecursionError):  # NaN or depth, which was never written
        sound = False
    if not sound:
        raise DamagedFileError(f"{name}: damaged or edited, its digest does not match")
    return {key: value for key, value in content.items() if key != SEAL}


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


def set_aside(path: Path, why: object = "") -> Path:
    """Renames a damaged file or folder, so that it can be made again; logs it.

    Returns:
        The new path, ``NAME.damaged-1`` or the next free number.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.rename(path, aside)
    reason = f" ({' '.join(str(why).split())})" if why else ""
    _log.warning("%s is not usable and was set aside as %s%s", path, aside.name, reason)
    return aside
