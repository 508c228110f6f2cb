"""Functions of NumPy arrays as parts of compiled programs."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental.buffer_callback import buffer_callback


def on_host(
    function: Callable[..., np.ndarray], shape: jax.ShapeDtypeStruct, *arrays: Any
) -> Any:
    """``function`` of NumPy arrays as part of a program; it must not change them.

    On a CPU not by ``pure_callback``: it hands over arrays that a thread of the
    device's pool copies first, and waits for ever where the programs that wait for
    their callbacks hold all threads (jax 0.10, arrays of more than 100 KiB).
    """

    def into(_, out, *buffers):
        np.asarray(out)[...] = function(*map(np.asarray, buffers))

    def on_cpu(*arrays):
        return buffer_callback(into, shape, vmap_method="sequential")(*arrays)

    def elsewhere(*arrays):
        def call(*arrays):
            return function(*map(np.asarray, arrays))

        return jax.pure_callback(call, shape, *arrays, vmap_method="sequential")

    return jax.lax.platform_dependent(*arrays, cpu=on_cpu, default=elsewhere)
