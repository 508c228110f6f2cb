"""Reads tensors out of PyTorch's files without PyTorch, and nothing but tensors.

Both containers of ``torch.save`` are read: the zip archive of today and the stream of
pickles from before PyTorch 1.6.
"""

import collections
import io
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable

import numpy as np

from cgat_jax.errors import InputError
from cgat_jax.models.torch_import.pickle import (
    MAX_PICKLE,
    Refused,
    Storage,
    Tensor,
    load_pickle,
    load_state,
)
from cgat_jax.models.torch_import.state import tensors_of

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_ZIP = b"PK\x03\x04"
_REPEATS = 4  # times that tensors may share a storage, on average


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a ``state_dict`` that ``torch.save`` wrote, by name.

    Of a whole module that it wrote, they are those of ``module.state_dict()``; of a
    checkpoint, those of its network, see ``tensors_of``. Nothing that the file says is
    executed or imported. Arrays have the types of the file, bfloat16 included, and are
    not shared.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is damaged or truncated, holds something else than tensors, or is
            of neither container; one line names the file and the reason.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            return _read_zip(file) if is_zip else _read_legacy(file)
    except Refused as error:
        raise InputError(f"{path} is refused: {_line(error)}") from error
    except Exception as error:  # whatever a damaged file makes the parsers raise
        text = _line(error)
        raise InputError(
            f"{path} is damaged: {type(error).__name__}: {text}"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _read_zip(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """One member a storage beside ``data.pkl``, in a folder; nothing is compressed."""
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise Refused("two members of the archive have one name")
        stored = all(m.compress_type == zipfile.ZIP_STORED for m in members.values())
        if not stored or sum(m.file_size for m in members.values()) > size:
            raise Refused("its members are compressed or larger than the file")
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1 or members[pickles[0]].file_size > MAX_PICKLE:
            raise Refused("it is no archive of torch.save: expected one data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in members and archive.read(order) != b"little":
            raise Refused("its numbers are big-endian")
        state, _ = load_state(io.BytesIO(archive.read(pickles[0])))

        def values_of(storage: Storage) -> bytes:
            name = f"{root}data/{storage.key}"
            if name not in members:
                raise Refused(f"the archive lacks {name!r}")
            return archive.read(name)

        return _arrays(tensors_of(state), values_of)


def _read_legacy(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """Five pickles (magic, version, system, tensors, keys), then each key's values."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        if load_pickle(file) != _MAGIC or load_pickle(file) != _PROTOCOL:
            raise ValueError
    except Refused:
        raise
    except Exception as error:
        raise Refused("it is no file of torch.save") from error
    system = load_pickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("its numbers are big-endian")
    state, storages = load_state(file)
    tensors, keys, stored = tensors_of(state), load_pickle(file), {}
    needed = {tensor.storage.key for tensor in tensors.values()}
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not texts or set(keys) != storages.keys():
        raise Refused("its list of storages is not that of its tensors")
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        if count != storages[key].count:
            raise Refused(
                f"storage {key!r} has {count} values, its tensors say otherwise"
            )
        if storages[key].bytes > size - file.tell():
            raise Refused(f"it ends within storage {key!r}")
        if key in needed:
            stored[key] = file.read(storages[key].bytes)
        else:
            file.seek(storages[key].bytes, os.SEEK_CUR)
    return _arrays(tensors, lambda storage: stored[storage.key])


def _arrays(
    tensors: dict[str, Tensor], values_of: Callable[[Storage], bytes]
) -> dict[str, np.ndarray]:
    """Every storage is read once, and all its tensors copied out of it."""
    by_storage: dict[Storage, list[str]] = collections.defaultdict(list)
    for name, tensor in tensors.items():
        by_storage[tensor.storage].append(name)
    there = sum(storage.bytes for storage in by_storage)
    if sum(tensor.bytes for tensor in tensors.values()) > _REPEATS * there:
        raise Refused("its tensors repeat their storages too often")
    arrays = {}
    for storage, names in by_storage.items():
        raw = values_of(storage)
        if len(raw) != storage.bytes:
            raise Refused(
                f"storage {storage.key!r} of {names[0]!r} has {len(raw)} bytes, "
                f"expected {storage.bytes}"
            )
        arrays |= {name: _view(tensors[name], raw).copy() for name in names}
    return {name: arrays[name] for name in tensors}


def _view(tensor: Tensor, raw: bytes) -> np.ndarray:
    values = np.frombuffer(raw, tensor.storage.dtype)[tensor.offset :]
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values, tensor.size, strides)
