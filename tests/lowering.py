"""What a function would ask of a GPU, found without one."""

import re
from typing import NamedTuple

import jax

_DOT = re.compile(
    r"stablehlo\.dot_general .*?precision = \[(\w+), (\w+)\]"
    r" : \(tensor<([^>]+)>, tensor<([^>]+)>\) -> tensor<([^>]+)>"
)


class Product(NamedTuple):
    """A product of matrices: whether in full float32, and all sides of its tables."""

    full: bool
    sides: frozenset[int]


def products(function, *arguments, platform="cuda") -> list[Product]:
    """All products in the program of a function, lowered for a platform."""
    shapes = jax.eval_shape(lambda *x: x, *arguments)
    lowered = jax.jit(function).trace(*shapes)
    text = lowered.lower(lowering_platforms=(platform,)).as_text()
    found = _DOT.findall(text)
    assert len(found) == text.count("stablehlo.dot_general")
    assert "stablehlo.convolution" not in text
    return [
        Product(
            full={first, second} == {"HIGHEST"},
            sides=frozenset(
                int(side)
                for table in tables
                for side in table.split("x")[:-1]  # the last is the type
            ),
        )
        for first, second, *tables in found
    ]
