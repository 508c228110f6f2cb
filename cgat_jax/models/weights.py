"""Network weights as safetensors files, one array a key such as 'conv1/kernel'.

Parameters and running statistics lie side by side: 'bn1/scale' and 'bn1/bias' are
parameters, 'bn1/mean' and 'bn1/var' statistics; no name is of both. A trained hashing
network (``cgat_jax.models.network_file``) has the state of its loss beside them, as
'loss/...' and 'constants/...'; no layer has such a name.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import numpy as safetensors
from safetensors import safe_open

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.arrays import digest_of
from cgat_jax.files.io import SEAL, write_bytes
from cgat_jax.types import PyTree

ASSETS = pathlib.Path(__file__).parent / "assets"
PACKED = {"small": "small.safetensors"}
LOSS_STATE = ("loss", "constants")
"""First parts of the keys of what a file holds of the hashing loss."""
T = TypeVar("T")


def weights_digest(params: PyTree, stats: PyTree) -> str:
    """SHA-256 of a network: names, types, shapes and values of all its arrays."""
    return _digest(_flat(params, stats))


def save_weights(
    path: str | os.PathLike,
    params: PyTree,
    stats: PyTree,
    *,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a network, its digest and what is to be said of it; whole or not at all.

    Raises:
        OSError: it cannot be written; names the path. What was there stays.
    """
    arrays = {
        key: np.ascontiguousarray(value) for key, value in _flat(params, stats).items()
    }
    said = (metadata or {}) | {SEAL: _digest(arrays)}
    write_bytes(pathlib.Path(path), _in_order(safetensors.save(arrays, said)))


def load_weights(
    path: str | os.PathLike,
    params: PyTree,
    stats: PyTree,
    *,
    skip: Iterable[str] = ("head",),
) -> tuple[PyTree, PyTree]:
    """The network with the file's values in all layers but the skipped ones.

    A file without a digest, of an earlier version or from elsewhere, is taken.

    Args:
        path: a file of ``save_weights``.
        params: parameters of the network that gets the weights; they set the shapes
            and the types.
        stats: its running statistics.
        skip: layers that keep their values, whatever the file holds for them.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no safetensors file, or not as it was written.
        InputError: it belongs to another network; the message names the first key that
            differs, with both shapes or types.
    """
    path = pathlib.Path(path)
    return fit_arrays(path, read_arrays(path)[0], params, stats, skip=skip)


def fit_arrays(
    path: pathlib.Path,
    stored: dict[str, Any],
    params: PyTree,
    stats: PyTree,
    *,
    skip: Iterable[str] = (),
) -> tuple[PyTree, PyTree]:
    """A network with the values of arrays that were read; as ``load_weights``.

    Args:
        path: what errors call them.
        stored: by their keys; those of the loss's state are left out.
        params: parameters that set the shapes and the types.
        stats: running statistics that do.
        skip: layers that keep their values.

    Raises:
        InputError: they belong to another network.
    """
    wanted, skip = _flat(params, stats), {*skip, *LOSS_STATE}
    kept = {key for key in wanted | stored if key.split("/")[0] in skip}
    for key in sorted((wanted.keys() | stored.keys()) - kept):
        _check_fit(path, key, wanted, stored)
    merged = {
        key: value if key in kept else jnp.asarray(stored[key], value.dtype)
        for key, value in wanted.items()
    }
    running = flatten_dict(stats, sep="/")
    new = {key: merged.pop(key) for key in running}
    return unflatten_dict(merged, sep="/"), unflatten_dict(new, sep="/")


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """What a weights file says of itself.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no safetensors file.
    """
    return _open(pathlib.Path(path), lambda file: file.metadata() or {})


def read_arrays(
    path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays of a weights file by their keys, and what it says of itself.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no safetensors file, or not as it was written.
    """
    path = pathlib.Path(path)

    def read(file):
        arrays = {key: file.get_tensor(key) for key in file.keys()}
        return arrays, file.metadata() or {}

    arrays, metadata = _open(path, read)
    if SEAL in metadata and metadata[SEAL] != _digest(arrays):
        raise DamagedFileError(f"{path}: damaged, its digest does not match")
    return arrays, metadata


def packed_weights(name: str) -> pathlib.Path:
    """Path of the weights that come with this package for the network ``name``.

    Raises:
        InputError: no weights of this network are packaged.
        FileNotFoundError: the installation lacks the file.
    """
    if name not in PACKED:
        raise InputError(f"no packed weights for {name!r}; known: {sorted(PACKED)}")
    path = ASSETS / PACKED[name]
    if not path.is_file():
        raise FileNotFoundError(f"packed weights of {name!r} are missing: {path}")
    return path


def _flat(params: PyTree, stats: PyTree) -> PyTree:
    return flatten_dict(params, sep="/") | flatten_dict(stats, sep="/")


def _in_order(raw: bytes) -> bytes:
    """The file with its metadata sorted: equal content, equal bytes."""
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + raw[8 + length :]


def _digest(arrays: dict) -> str:
    lines = (f"{key} {digest_of(np.asarray(arrays[key]))}\n" for key in sorted(arrays))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _open(path: pathlib.Path, read: Callable[[Any], T]) -> T:
    """What ``read`` makes of a safetensors file."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights file: {path}")
    path.open("rb").close()  # an error of the system keeps its own type
    try:
        with safe_open(path, framework="np") as file:
            return read(file)
    except Exception as error:  # whatever damaged bytes lead the parser to
        text = " ".join(str(error).split())[:120]
        raise DamagedFileError(
            f"{path} is not a safetensors file, or damaged ({text}); "
            "experiments.convert_weights makes one of PyTorch's"
        ) from error


def _check_fit(path: pathlib.Path, key: str, wanted: dict, stored: dict) -> None:
    ours, theirs = (_shape(arrays, key) for arrays in (wanted, stored))
    if ours == theirs and _floats(wanted[key]) != _floats(stored[key]):
        ours, theirs = wanted[key].dtype, stored[key].dtype
    if ours != theirs:
        raise InputError(
            f"{path} does not fit the network: {key!r} is {ours} in the network "
            f"and {theirs} in the file"
        )


def _shape(arrays, key):
    return tuple(arrays[key].shape) if key in arrays else "missing"


def _floats(array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)
