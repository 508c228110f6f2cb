"""Networks as ONNX models, by the few operations that their evaluation consists of.

What depends on the weights alone is computed here and becomes a constant. The graph has
no custom operation and one free dimension, the number of images; it is of opset 18, for
runtimes since 2023.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from cgat_jax.errors import InputError

OPSET, IR_VERSION = 18, 8
BATCH = "b"
"""The name of the free dimension."""
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_SPECS = (_TO_NCHW, (3, 2, 0, 1), _TO_NCHW)  # NHWC x HWIO -> NHWC
_PLAIN = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "gt": "Greater"}


class _Graph(NamedTuple):
    """Nodes and constants of a graph that grows; a value is an array or a name."""

    onnx: Any
    nodes: list[Any]
    constants: list[Any]

    def add(self, op: str, *inputs: Any, **attributes: Any) -> str:
        """Appends a node; the name of its result."""
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        result = f"{op.lower()}_{len(self.nodes)}"
        make = self.onnx.helper.make_node
        self.nodes.append(make(op, names, [result], **attributes))
        return result

    def _constant(self, value: Any) -> str:
        name, value = f"constant_{len(self.constants)}", np.asarray(value, order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(value, name))
        return name


def onnx_model(
    function: Callable[..., Sequence[jax.Array]],
    pixels: jax.ShapeDtypeStruct,
    outputs: Sequence[str],
) -> bytes:
    """A function of images as a serialized ONNX model.

    Args:
        function: evaluates a network of ``cgat_jax.models`` on one batch.
        pixels: its argument; the first dimension becomes free.
        outputs: names of the function's results; the argument is called "images".

    Raises:
        InputError: ONNX is not installed, or the function does what no rule is for.
    """
    onnx = import_onnx()
    batch, shape = jax.export.symbolic_shape(BATCH), pixels.shape[1:]
    free = jax.ShapeDtypeStruct((*batch, *shape), pixels.dtype)
    traced = jax.make_jaxpr(function)(free)
    graph = _Graph(onnx, [], [])
    results = _walk(graph, traced.jaxpr, traced.consts, ["images"])
    for name, result in zip(outputs, results, strict=True):
        node = onnx.helper.make_node("Identity", [result], [name])
        graph.nodes.append(node)
    avals = {"images": free} | dict(zip(outputs, traced.out_avals, strict=True))
    info = {name: _info(onnx, name, aval) for name, aval in avals.items()}
    inputs = [info.pop("images")]
    made = onnx.helper.make_graph(
        graph.nodes, "cgat_jax", inputs, [*info.values()], graph.constants
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        made, producer_name="cgat_jax", opset_imports=opsets, ir_version=IR_VERSION
    )
    return model.SerializeToString()


def import_onnx() -> Any:
    """The module ``onnx``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            "an ONNX file needs the package onnx: pip install onnx, or this package "
            "with its extra [export]"
        ) from error
    return onnx


def _info(onnx: Any, name: str, aval: Any) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(aval.dtype))
    shape = (BATCH, *aval.shape[1:])
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def _walk(graph: _Graph, jaxpr: Any, constants: Sequence[Any], given: Sequence[Any]):
    """The results of a traced function on arrays and names."""
    known = dict(zip(jaxpr.constvars, constants, strict=True))
    known |= zip(jaxpr.invars, given, strict=True)

    def value(atom):
        if isinstance(atom, core.Literal):
            return np.asarray(atom.val, atom.aval.dtype)
        return known[atom]

    for equation in jaxpr.eqns:
        values = [value(atom) for atom in equation.invars]
        found = _results(graph, equation, values)
        known |= zip(equation.outvars, found, strict=True)
    return [value(atom) for atom in jaxpr.outvars]


def _results(graph: _Graph, equation: Any, values: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if inner is not None and (pooling := _chain_of_slices(inner.jaxpr)):
        return [_pooled(graph, values[0], *pooling)]
    if inner is not None:
        return _walk(graph, inner.jaxpr, inner.consts, values)
    if not any(isinstance(value, str) for value in values):
        return [equation.primitive.bind(*values, **params)]
    if name in _PLAIN:
        return [graph.add(_PLAIN[name], *values)]
    try:
        return [_RULES[name](graph, params, values)]
    except (KeyError, AssertionError) as error:
        raise InputError(f"an ONNX file cannot hold this {name}") from error


def _maximum(graph, params, values):
    for one, other in (values, values[::-1]):
        if not isinstance(other, str) and np.ndim(other) == 0 and other == 0:
            return graph.add("Relu", one)
    return graph.add("Max", *values)


def _convert(graph, params, values):
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(params["new_dtype"]))
    return graph.add("Cast", values[0], to=kind)


def _reshape(graph, params, values):
    batch, *rest = params["new_sizes"]
    assert jax.export.is_symbolic_dim(batch) and str(batch) == BATCH
    return graph.add("Reshape", values[0], np.array([0, *rest], np.int64))


def _convolution(graph, params, values):
    x, kernel = values
    specs = params["dimension_numbers"]
    assert (specs.lhs_spec, specs.rhs_spec, specs.out_spec) == _SPECS
    assert params["lhs_dilation"] == (1, 1) and params["batch_group_count"] == 1
    x = graph.add("Transpose", x, perm=_TO_NCHW)
    kernel = np.asarray(kernel).transpose(3, 2, 0, 1)
    low, high = zip(*params["padding"], strict=True)
    x = graph.add(
        "Conv",
        x,
        kernel,
        strides=params["window_strides"],
        pads=[*low, *high],
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    return graph.add("Transpose", x, perm=_TO_NHWC)


def _pooled(graph, x, window, strides):
    x = graph.add("Transpose", x, perm=_TO_NCHW)
    x = graph.add("MaxPool", x, kernel_shape=window, strides=strides)
    return graph.add("Transpose", x, perm=_TO_NHWC)


def _chain_of_slices(jaxpr: Any) -> tuple[Sequence[int], Sequence[int]] | None:
    """Window and strides of ``cgat_jax.models.layers.cpu.max_pool``, if it is one.

    That is a slice for each place in a window, and what is largest of them.
    """
    slices = [eqn.params for eqn in jaxpr.eqns if eqn.primitive.name == "slice"]
    names = [eqn.primitive.name for eqn in jaxpr.eqns if eqn.primitive.name != "slice"]
    if not slices or names != ["gt", "jit"] * (len(slices) - 1):
        return None
    starts = [params["start_indices"] for params in slices]
    window = [int(last) + 1 for last in np.max(starts, axis=0)[1:3]]
    places = itertools.product(*map(range, window))
    if starts != [(0, *place, 0) for place in places]:
        return None
    return window, slices[0]["strides"][1:3]


def _reduce_window(graph, params, values):
    window, strides = params["window_dimensions"], params["window_strides"]
    assert window[::3] == strides[::3] == (1, 1)
    assert {*params["base_dilation"], *params["window_dilation"]} == {1}
    assert not np.any(params["padding"])
    return _pooled(graph, values[0], window[1:3], strides[1:3])


def _pad(graph, params, values):
    low, high, inner = zip(*params["padding_config"], strict=True)
    assert not any(inner) and min(low + high) >= 0
    return graph.add("Pad", values[0], np.array([*low, *high], np.int64), values[1])


def _product(graph, params, values):
    assert params["dimension_numbers"] == (((1,), (0,)), ((), ()))
    return graph.add("MatMul", *values)


def _reduction(op):
    def reduce(graph, params, values):
        return graph.add(op, values[0], np.array(params["axes"], np.int64), keepdims=0)

    return reduce


_RULES = {
    "max": _maximum,
    "convert_element_type": _convert,
    "reshape": _reshape,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _reduce_window,
    "pad": _pad,
    "dot_general": _product,
    "reduce_max": _reduction("ReduceMax"),
    "reduce_sum": _reduction("ReduceSum"),
}
