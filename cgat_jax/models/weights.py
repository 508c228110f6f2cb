"""Network weights as safetensors files, one array a key such as 'conv1/kernel'.

Parameters and running statistics lie side by side: 'bn1/scale' and 'bn1/bias' are
parameters, 'bn1/mean' and 'bn1/var' statistics; no name is of both.
"""

import os
import pathlib
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from cgat_jax.types import PyTree

ASSETS = pathlib.Path(__file__).parent / "assets"
PACKED = {"small": "small.safetensors"}


def save_weights(
    path: str | os.PathLike,
    params: PyTree,
    stats: PyTree,
    *,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a network and what is to be said of it; whole or not at all."""
    path = pathlib.Path(path)
    arrays = {
        key: np.ascontiguousarray(value) for key, value in _flat(params, stats).items()
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        safetensors.save_file(arrays, partial, metadata)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(
    path: str | os.PathLike,
    params: PyTree,
    stats: PyTree,
    *,
    skip: Iterable[str] = ("head",),
) -> tuple[PyTree, PyTree]:
    """The network with the file's values in all layers but the skipped ones.

    Args:
        path: a file of ``save_weights``.
        params: parameters of the network that gets the weights; they set the shapes
            and the types.
        stats: its running statistics.
        skip: layers that keep their values, whatever the file holds for them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, or belongs to another network; the
            message names the first key that differs, with both shapes.
    """
    path, skip = pathlib.Path(path), set(skip)
    wanted = _flat(params, stats)
    stored = _read(path)
    kept = {key for key in wanted | stored if key.split("/")[0] in skip}
    for key in sorted((wanted.keys() | stored.keys()) - kept):
        ours, theirs = (_shape(arrays, key) for arrays in (wanted, stored))
        if ours != theirs:
            raise ValueError(
                f"{path} does not fit the network: {key!r} is {ours} in the network "
                f"and {theirs} in the file"
            )
    merged = {
        key: value if key in kept else jnp.asarray(stored[key], value.dtype)
        for key, value in wanted.items()
    }
    running = flatten_dict(stats, sep="/")
    new = {key: merged.pop(key) for key in running}
    return unflatten_dict(merged, sep="/"), unflatten_dict(new, sep="/")


def packed_weights(name: str) -> pathlib.Path:
    """Path of the weights that come with this package for the network ``name``.

    Raises:
        ValueError: no weights of this network are packaged.
        FileNotFoundError: the installation lacks the file.
    """
    if name not in PACKED:
        raise ValueError(f"no packed weights for {name!r}; known: {sorted(PACKED)}")
    path = ASSETS / PACKED[name]
    if not path.is_file():
        raise FileNotFoundError(f"packed weights of {name!r} are missing: {path}")
    return path


def _flat(params: PyTree, stats: PyTree) -> PyTree:
    return flatten_dict(params, sep="/") | flatten_dict(stats, sep="/")


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"no weights file: {path}")
    try:
        return safetensors.load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a safetensors file ({error}); experiments.convert_weights "
            "makes one of PyTorch's"
        ) from error


def _shape(arrays, key):
    return tuple(arrays[key].shape) if key in arrays else "missing"
