"""A pickle of PyTorch's tensors, read as data.

A pickle is a program that may name any function of Python and call it. Here names are
looked up in a table (``_NAMES``) of the few that a ``state_dict`` is made of, and none
of them acts. Any other name stands for nothing: nothing is imported, and what the
pickle would make with it is a placeholder (``Inert``) that only keeps what a module
keeps its tensors in.
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


_MOST_AXES, _MOST_NAMES = 8, 1_000
_KEPT = (
    *("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
    *("_state_dict_hooks", "_state_dict_pre_hooks"),
)


class Inert:
    """What a pickle makes of a name that is not known: no more than a note of it.

    Attributes:
        named: the name, as ``module.name``; of the class.
        state: of the attributes that the pickle gives it, those that say which tensors
            a ``torch.nn.Module`` has.
    """

    named = ""

    def __new__(cls, *_, **__):
        """Takes any arguments, and keeps none."""
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        known = state if isinstance(state, dict) else {}
        self.state = {key: known[key] for key in _KEPT if key in known}

    def __setitem__(self, key, value):
        """Entries of a dictionary of an unknown class are dropped."""

    def append(self, item) -> None:
        """Entries of a list of an unknown class are dropped."""

    def __call__(self, *_, **__):
        """It is no function.

        Raises:
            Refused: names what it is of.
        """
        raise Refused(f"it calls what {self.named} gives; weights are tensors alone")


class _Call:
    """A function that a pickle may call; a pickle cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name, value):
        raise Refused(f"it sets {name!r} of a function")

    def __call__(self, *arguments):
        return self._function(*arguments)


def _rebuild_tensor(storage, offset, size, strides, *rest) -> Tensor:
    whole = isinstance(size, tuple) and isinstance(strides, tuple)
    if not isinstance(storage, Storage) or not whole or len(size) != len(strides):
        raise Refused("a tensor's parts are of the wrong kinds")
    if any(rest[2:]):  # behind whether it has a gradient, and hooks
        raise Refused("a tensor is marked, as negated ones are: save its resolve_neg()")
    if len(size) > _MOST_AXES:
        raise Refused(f"a tensor has {len(size)} axes, more than {_MOST_AXES}")
    if any(type(n) is not int or n < 0 for n in (offset, *size, *strides)):
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


def _set(items=()) -> tuple:
    """The items alone: no set is made, whose items could be made to collide."""
    if not isinstance(items, list | tuple):
        raise Refused("a set is made of something else than a list")
    return tuple(items)


_NAMES: dict[tuple[str, str], Any] = {
    ("__builtin__", "set"): _Call(_set),
    ("builtins", "set"): _Call(_set),
    ("collections", "OrderedDict"): _Call(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): _Call(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_rebuild_parameter),
} | {("torch", name): name for name in _TYPES}


class _Unpickler(pickle.Unpickler):
    """Finds the names of ``_NAMES``; others are refused, or stand for nothing."""

    def __init__(self, raw: bytes, *, inert: bool):
        super().__init__(io.BytesIO(raw), encoding="utf-8")
        self.inert, self.storages = inert, {}
        self.unknown: dict[tuple[str, str], type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        if not self.inert:
            raise Refused(f"it names {module}.{name}; weights are tensors alone")
        if (module, name) not in self.unknown:
            if len(self.unknown) >= _MOST_NAMES:
                raise Refused(f"it names more than {_MOST_NAMES:,} things")
            named = {"named": f"{module}.{name}"}
            self.unknown[module, name] = type("Inert", (Inert,), named)
        return self.unknown[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self._is_class(pid):
            return pid[1]
        kinds = (str, str, str, str, int)
        parts = pid[:5] if isinstance(pid, tuple) else ()
        if tuple(map(type, parts)) != kinds or parts[0] != "storage":
            raise Refused("it refers to something else than a storage")
        if any(part is not None for part in pid[5:]):
            raise Refused("it has a storage that is part of another")
        _, kind, key, _, count = parts
        if kind not in _TYPES or count < 0:
            raise Refused(f"it has a storage of {count} values of type {kind!r}")
        storage = Storage(key, np.dtype(_TYPES[kind]), count)
        if self.storages.setdefault(key, storage) != storage:
            raise Refused(f"it has two storages of the name {key!r}")
        return storage

    def _is_class(self, pid: Any) -> bool:
        """Before PyTorch 1.6, modules' classes are written with their source text."""
        if not self.inert or not isinstance(pid, tuple) or len(pid) != 4:
            return False
        return pid[0] == "module" and isinstance(pid[1], type)


def load_pickle(file: io.BufferedIOBase) -> Any:
    """The object of the next pickle of a file, which then stands behind it.

    The pickle is first scanned without being run, so that lengths beyond its end and
    what costs more than its length are found before memory or time is taken for them.

    Raises:
        Refused: it names something else than tensors, or see ``scan_pickle``.
        ValueError, EOFError, ...: it is damaged.
    """
    return _unpickler(file, inert=False).load()


def load_state(file: io.BufferedIOBase) -> tuple[Any, dict[str, Storage]]:
    """As ``load_pickle``, with placeholders for unknown names; and all its storages.

    Raises:
        Refused: see ``scan_pickle``, or it would use a placeholder as a function.
        ValueError, EOFError, ...: it is damaged.
    """
    unpickler = _unpickler(file, inert=True)
    return unpickler.load(), unpickler.storages


def _unpickler(file: io.BufferedIOBase, *, inert: bool) -> _Unpickler:
    """Of the next pickle of a file, which then stands behind it."""
    start = file.tell()
    raw = file.read(MAX_PICKLE)
    end = scan_pickle(raw, numbered=inert)
    file.seek(start + end + 1)
    return _Unpickler(raw[: end + 1], inert=inert)
