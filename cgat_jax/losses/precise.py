"""Losses in full float32, however they are made."""

import functools
from collections.abc import Callable
from typing import ParamSpec

from cgat_jax.precision import full_precision
from cgat_jax.types import HashLoss

_Options = ParamSpec("_Options")


def precise_loss(factory: Callable[_Options, HashLoss]) -> Callable[_Options, HashLoss]:
    """The factory with all functions of its loss in full float32, on every device."""

    @functools.wraps(factory)
    def make(*args: _Options.args, **options: _Options.kwargs) -> HashLoss:
        loss = factory(*args, **options)
        parts = {k: full_precision(v) for k, v in loss._asdict().items() if callable(v)}
        return loss._replace(**parts)

    return make
