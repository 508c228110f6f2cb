"""Trained hashing networks of any naming: matched by the order and shape of layers."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable

import numpy as np

from cgat_jax.files.arrays import digest_of
from cgat_jax.models import make_model
from cgat_jax.models.torch_import.weights import (
    SOURCES,
    network_shapes,
    recognize,
    torch_names,
    torch_shape,
)

_COUNTER = "num_batches_tracked"
_PARTS = {
    "convolution": ("weight", "bias"),
    "norm": ("weight", "bias", "running_mean", "running_var"),
    "dense": ("weight", "bias"),
}
Layer = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recognized:
    """A ``state_dict`` as that of one of our networks.

    ``arrays`` have torchvision's names; ``head`` is the file's own name of the last
    layer, which has ``outputs`` units.
    """

    name: str
    arrays: dict[str, np.ndarray]
    head: str
    outputs: int


def recognize_network(
    arrays: dict[str, np.ndarray],
    *,
    name: str | None = None,
    leave_out: Iterable[str] = (),
) -> Recognized:
    """Finds which network a ``state_dict`` is of, whatever its layers are called.

    With torchvision's names, it is found by them. Else convolutions, norms and dense
    layers are told apart by their tensors and compared with those of our networks in
    the order of the file, shape by shape; the dense layer that is left at the end is
    the head, which may have no biases. A layer that is listed twice (some codes
    register one in two places) counts once. What has no tensors, such as pooling, is
    taken to be as in our network.

    Args:
        arrays: by their names in the file, in its order.
        name: the network that it must be of; by default any.
        leave_out: names of layers or tensors, or beginnings of them up to a dot, that
            are no part of the network.

    Raises:
        ValueError: something is left over, missing or of another shape; names it.
    """
    arrays = _without(arrays, leave_out)
    if _has_torchvisions_names(arrays):
        name = name or recognize(arrays)
        head = list(torch_names(name))[-1].rpartition(".")[0]
        outputs = np.shape(arrays.get(f"{head}.weight", ()))[:1]
        return Recognized(name=name, arrays=arrays, head=head, outputs=sum(outputs))
    layers = _layers(arrays)
    wrong = []
    for as_it_is in (True, False):
        given = layers if as_it_is else _distinct(layers)
        for candidate in [name] if name else SOURCES:
            try:
                return _matched(candidate, given)
            except _Mismatch as error:
                wrong.append(error)
    raise ValueError(str(max(wrong, key=lambda error: error.agreeing)))


def _has_torchvisions_names(arrays: dict[str, np.ndarray]) -> bool:
    """Whether they are a network's there, or some of them: but for a head's bias.

    Which may lack: then the network is found by its tensors.
    """
    names = [list(torch_names(name)) for name in SOURCES]
    holding = [set(every) for every in names if arrays.keys() <= set(every)]
    return bool(holding) and all(set(every[:-1]) != arrays.keys() for every in names)


class _Mismatch(Exception):
    """A file's layers are not a network's; ``agreeing`` counts those that are."""

    def __init__(self, agreeing: int, message: str):
        super().__init__(message)
        self.agreeing = agreeing


def _without(arrays: dict[str, np.ndarray], leave_out: Iterable[str]) -> dict:
    """The arrays but those that are to be left out, and the counters of batches.

    Raises:
        ValueError: there is nothing of such a name.
    """
    rest = dict(arrays)
    for name in leave_out:
        found = [key for key in rest if key == name or key.startswith(f"{name}.")]
        if not found:
            raise ValueError(f"there is no {name!r} to leave out")
        rest = {key: array for key, array in rest.items() if key not in found}
    return {key: a for key, a in rest.items() if key.split(".")[-1] != _COUNTER}


def _layers(arrays: dict[str, np.ndarray]) -> dict[str, Layer]:
    """The tensors of each layer by their last names, in the order of the file.

    Raises:
        ValueError: a tensor belongs to no layer that our networks have.
    """
    layers: dict[str, Layer] = collections.defaultdict(dict)
    for key, array in arrays.items():
        layer, _, part = key.rpartition(".")
        layers[layer][part] = array
    for layer, parts in layers.items():
        expected = _PARTS.get(_kind(parts), ())
        for part in parts:
            if part not in expected:
                key = f"{layer}.{part}" if layer else part
                raise ValueError(
                    f"{key!r} {list(parts[part].shape)} is of no convolution, norm or "
                    "dense layer; if the network does without it, --leave_out it"
                )
    return dict(layers)


def _kind(layer: Layer) -> str:
    if "running_mean" in layer:
        return "norm"
    axes = layer["weight"].ndim if "weight" in layer else 0
    return {4: "convolution", 2: "dense"}.get(axes, "")


def _distinct(layers: dict[str, Layer]) -> dict[str, Layer]:
    """The first of those that hold the same numbers."""
    distinct: dict[tuple, str] = {}
    for name, layer in layers.items():
        content = tuple((part, digest_of(layer[part])) for part in sorted(layer))
        distinct.setdefault(content, name)
    return {name: layers[name] for name in distinct.values()}


def _matched(name: str, layers: dict[str, Layer]) -> Recognized:
    """The layers under torchvision's names for this network.

    Raises:
        _Mismatch: at the first layer that differs.
    """
    expected = _expected(name)
    pairs: list[tuple[str, str]] = []
    for kind in ("convolution", "norm", "dense"):
        ours = [key for key, layer in expected.items() if _kind_of(layer) == kind]
        theirs = [key for key, layer in layers.items() if _kind(layer) == kind]
        for our, their in itertools.zip_longest(ours, theirs):
            is_head = kind == "dense" and our == ours[-1]
            problem = _problem(expected.get(our), layers.get(their), is_head)
            if problem:
                said = _said(name, kind, (our, expected), (their, layers), problem)
                raise _Mismatch(len(pairs), said)
            pairs.append((our, their))
    head = pairs[-1][1]
    arrays = {
        f"{our}.{part}": _array(layers[their], part)
        for our, their in pairs
        for part in expected[our]
    }
    outputs = len(layers[head]["weight"])
    return Recognized(name=name, arrays=arrays, head=head, outputs=outputs)


@functools.cache
def _expected(name: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of torchvision's tensors of a network, by layer and last name."""
    shapes = network_shapes(make_model(name, outputs=1))
    layers: dict[str, dict] = collections.defaultdict(dict)
    for key, ours in torch_names(name).items():
        layer, _, part = key.rpartition(".")
        layers[layer][part] = torch_shape(ours, shapes[ours])
    return dict(layers)


def _kind_of(shapes: dict[str, tuple[int, ...]]) -> str:
    if "running_mean" in shapes:
        return "norm"
    return "convolution" if len(shapes["weight"]) == 4 else "dense"


def _array(layer: Layer, part: str) -> np.ndarray:
    """A tensor of a layer; a head without biases has zeros."""
    if part in layer:
        return layer[part]
    return np.zeros(len(layer["weight"]), np.float32)


def _problem(expected: dict | None, layer: Layer | None, is_head: bool) -> str:
    """Why a layer of a file is not that of a network; empty where it is."""
    if expected is None:
        return "left over"
    if layer is None:
        return "missing"
    units = len(layer["weight"]) if is_head and "weight" in layer else None
    for part, shape in expected.items():
        if part not in layer:
            if is_head and part == "bias":
                continue
            return f"without its {part}"
        wanted = shape if units is None else (units, *shape[1:])
        if layer[part].shape != wanted:
            return f"{part} {list(layer[part].shape)}"
    more = sorted(layer.keys() - expected.keys())
    return f"with a {more[0]}" if more else ""


def _said(name: str, kind: str, ours: tuple, theirs: tuple, problem: str) -> str:
    """One line on the first layer that does not fit."""
    (our, expected), (their, layers) = ours, theirs
    nearest = f"{name}, the nearest network,"
    if our is None:
        shape = list(layers[their]["weight"].shape)
        return (
            f"the {kind} layer {their!r} {shape} does not fit: {nearest} has no more "
            "of them; if it does without, --leave_out it"
        )
    shape = list(expected[our]["weight"])
    if their is None:
        return f"the file lacks the {kind} layer {our!r} {shape} of {nearest[:-1]}"
    return (
        f"the {kind} layer {their!r} ({problem}) does not fit: in {nearest} it is "
        f"{our!r} {shape}"
    )
