"""A pickle of PyTorch's tensors, read as data.

A pickle is a program that may name any function of Python and call it. Here names are
looked up in a table (``_NAMES``) of the few that a ``state_dict`` is made of, and none
of them acts; a pickle that names anything else is refused with that name.
"""

import collections
import io
import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cgat_jax.files.pickles import Refused, scan_pickle

MAX_PICKLE = 1 << 24
"""Bytes of a pickle without its tensors' values; that of a VGG has a few thousand."""
_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class Storage(NamedTuple):
    """Values that tensors are views of; they lie elsewhere in the file."""

    key: str
    dtype: np.dtype
    count: int

    @property
    def bytes(self) -> int:
        """How many bytes the values take."""
        return self.count * self.dtype.itemsize


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count values."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """How many bytes a copy takes."""
        return math.prod(self.size) * self.storage.dtype.itemsize


_MOST_AXES = 8


class _Call:
    """A function that a pickle may call; a pickle cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name, value):
        raise Refused(f"it sets {name!r} of a function")

    def __call__(self, *arguments):
        return self._function(*arguments)


def _rebuild_tensor(storage, offset, size, strides, *_) -> Tensor:
    whole = isinstance(size, tuple) and isinstance(strides, tuple)
    if not isinstance(storage, Storage) or not whole or len(size) != len(strides):
        raise Refused("a tensor's parts are of the wrong kinds")
    if len(size) > _MOST_AXES:
        raise Refused(f"a tensor has {len(size)} axes, more than {_MOST_AXES}")
    numbers = (offset, *size, *strides)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise Refused("a tensor's sizes must be numbers of at least 0")
    reach = offset + sum((n - 1) * s for n, s in zip(size, strides, strict=True))
    count = math.prod(size)
    if count and (reach >= storage.count or count > storage.count):
        raise Refused(f"a tensor of size {size} reaches beyond its storage")
    return Tensor(storage, offset, size, strides)


def _rebuild_parameter(data, *_) -> Tensor:
    return data


def _ordered_dict(pairs=()) -> collections.OrderedDict:
    """An ordered dictionary; Python 2 gives its entries at once, as lists of two."""
    if not isinstance(pairs, list | tuple):
        raise Refused("an ordered dictionary is made of something else than pairs")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Refused("an ordered dictionary is made of something else than pairs")
        if not isinstance(pair[0], str | bytes):
            raise Refused("a dictionary of it has a key that is no text")
    return collections.OrderedDict(pairs)


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Call(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): _Call(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_rebuild_parameter),
} | {("torch", name): name for name in _TYPES}


class _Unpickler(pickle.Unpickler):
    """Finds the names of ``_NAMES`` and no others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise Refused(f"it names {module}.{name}; weights are tensors alone")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        kinds = (str, str, str, str, int)
        parts = pid[:5] if isinstance(pid, tuple) else ()
        if tuple(map(type, parts)) != kinds or parts[0] != "storage":
            raise Refused("it refers to something else than a storage")
        if any(part is not None for part in pid[5:]):
            raise Refused("it has a storage that is part of another")
        _, kind, key, _, count = parts
        if kind not in _TYPES or count < 0:
            raise Refused(f"it has a storage of {count} values of type {kind!r}")
        return Storage(key, np.dtype(_TYPES[kind]), count)


def load_pickle(file: io.BufferedIOBase) -> Any:
    """The object of the next pickle of a file, which then stands behind it.

    The pickle is first scanned without being run, so that lengths beyond its end and
    what costs more than its length are found before memory or time is taken for them.

    Raises:
        Refused: it names something else than tensors, or see ``scan_pickle``.
        ValueError, EOFError, ...: it is damaged.
    """
    start = file.tell()
    raw = file.read(MAX_PICKLE)
    end = scan_pickle(raw)
    file.seek(start + end + 1)
    return _Unpickler(io.BytesIO(raw[: end + 1]), encoding="utf-8").load()
