"""Full float32 for what is no network: loss, center codes, references, objectives."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def full_precision(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """The function with its matrix products in full float32, on every device.

    Accelerators round the factors of a float32 product to fewer bits by default (TF32,
    bfloat16). A network can bear that; a sum of signs that decides a bit of a center
    code cannot. The products of the function's gradient are in full float32 as well.
    """

    @functools.wraps(function)
    def precise(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with jax.default_matmul_precision("float32"):
            return function(*args, **kwargs)

    return precise
