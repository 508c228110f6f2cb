"""Writes files as ``torch.save`` does, by hand: both containers, any pickle in them."""

import pickle
import pickletools
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {"f8": "Double", "f4": "Float", "f2": "Half", "i8": "Long", "V2": "BFloat16"}
SYSTEM = {"protocol_version": 1001, "little_endian": True}
SYSTEM["type_sizes"] = {"short": 2, "int": 4, "long": 4}


class Named:
    """Pickles as the global ``module.name``, which need not exist."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Called:
    """Pickles as a call of a ``Named`` global."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class View:
    """A tensor: part of the flat ``values`` of storage ``key``."""

    def __init__(self, key, values, size, strides, offset=0, count=None):
        self.key, self.values, self.size, self.strides = key, values, size, strides
        self.offset, self.count = offset, len(values) if count is None else count


class Raw(bytes):
    """Opcodes that leave one object."""


def dumps(value):
    """Protocol 2, as PyTorch's, by hand."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Named):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Called):
        return _opcodes(value.function) + _opcodes(value.arguments) + b"R"
    if isinstance(value, View):
        kind = TYPES[value.values.dtype.str[1:]]
        storage = Named("torch", f"{kind}Storage")
        pid = ("storage", storage, value.key, "cpu", value.count)
        hooks = Called(Named("collections", "OrderedDict"))
        parts = (value.offset, value.size, value.strides, False, hooks)
        function = Named("torch._utils", "_rebuild_tensor_v2")
        arguments = b"(" + _opcodes(pid) + b"Q" + b"".join(map(_opcodes, parts)) + b"t"
        return _opcodes(function) + arguments + b"R"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, dict):
        ordered = _opcodes(Called(Named("collections", "OrderedDict")))
        items = b"".join(_opcodes(k) + _opcodes(v) for k, v in value.items())
        return ordered + b"(" + items + b"u"
    opcodes = pickle.dumps(value, protocol=2)[2:-1]
    return pickletools.optimize(b"\x80\x02" + opcodes + b".")[2:-1]


def state_of(arrays):
    """Contiguous tensors, one storage each."""
    return {
        name: View(str(n), np.ravel(a), a.shape, _strides(a.shape))
        for n, (name, a) in enumerate(arrays.items())
    }


def _strides(shape):
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def write_zip(path, state, *, storages=None, compression=zipfile.ZIP_STORED):
    """Today's container; ``storages`` replaces the bytes of some keys, None drops."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", dumps(state))
        archive.writestr("archive/byteorder", "little")
        for key, raw in _storages(state, storages).items():
            archive.writestr(f"archive/data/{key}", raw)
        archive.writestr("archive/version", "3\n")


def write_legacy(path, state, *, storages=None, system=SYSTEM):
    """The stream of pickles from before PyTorch 1.6."""
    parts = _storages(state, storages)
    counts = {v.key: v.count for v in _views(state)}
    with open(path, "wb") as file:
        for value in (MAGIC, 1001, system):
            file.write(pickle.dumps(value, protocol=2))
        file.write(dumps(state) + pickle.dumps(sorted(parts), protocol=2))
        for key in sorted(parts):
            file.write(struct.pack("<q", counts[key]) + parts[key])


def _views(state):
    values = state.values() if isinstance(state, dict) else ()
    return [value for value in values if isinstance(value, View)]


def _storages(state, replaced):
    raw = {view.key: view.values.tobytes() for view in _views(state)}
    raw |= replaced or {}
    return {key: value for key, value in raw.items() if value is not None}
