"""Convolutions and max pooling, in the form that the backend runs fast.

Every network of this package is built on these functions. On an accelerator they
are plain ``lax``; on XLA:CPU they are the forms of ``layers_cpu``, with equal values
and equal gradients.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from cgat_jax.models.layers import cpu

Pairs = tuple[tuple[int, int], tuple[int, int]]


def conv2d(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "h w I O"],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: Pairs = ((0, 0), (0, 0)),
    impl: str = "auto",
) -> Float[Array, "B Ho Wo O"]:
    """Cross-correlation of NHWC images with an HWIO kernel, zero padded.

    Args:
        x: images or feature maps.
        kernel: weights, of the images' dtype.
        strides: vertical and horizontal.
        padding: zeros (above, below) and (left, right); explicit, as in PyTorch.
        impl: "xla" is plain ``lax``; "cpu" has a gradient that XLA:CPU runs fast
            inside loops and is differentiable in reverse mode only; "auto" takes
            "cpu" where the default backend is the CPU.

    Returns:
        Feature maps; ``Ho = (H + above + below - h) // stride + 1``, ``Wo`` likewise.

    Raises:
        ValueError: ``impl`` is none of the three.
    """
    if _resolve(impl) == "cpu":
        return cpu.conv2d(x, kernel, strides, padding)
    return cpu.plain_conv(x, kernel, strides, padding)


def conv2d_transpose(
    x: Float[Array, "B H W I"], kernel: Float[Array, "4 4 I O"], *, impl: str = "auto"
) -> Float[Array, "B 2*H 2*W O"]:
    """Transposed convolution 4x4, stride 2, padding 1: maps twice as large.

    Along each axis y[2i - 1 + k] is the sum of x[i] kernel[k] over all such i and k.
    PyTorch's weight [I, O, h, w] is the kernel transposed (2, 3, 0, 1).

    Args:
        x: feature maps.
        kernel: weights, of the feature maps' dtype.
        impl: as for ``conv2d``.

    Raises:
        ValueError: ``impl`` is none of the three.
    """
    if _resolve(impl) == "cpu":
        return cpu.conv2d_transpose(x, kernel)
    flipped, pad = jnp.flip(kernel, (0, 1)), (2, 2)
    return cpu.plain_conv(x, flipped, (1, 1), (pad, pad), lhs_dilation=(2, 2))


def max_pool(
    x: Float[Array, "B H W C"],
    window: tuple[int, int],
    strides: tuple[int, int],
    *,
    impl: str = "auto",
) -> Float[Array, "B Ho Wo C"]:
    """Largest value of each window; windows that do not fit entirely are left out.

    The gradient goes to the first maximum of a window in reading order.

    Args:
        x: feature maps.
        window: height and width.
        strides: vertical and horizontal.
        impl: as for ``conv2d``.

    Returns:
        Feature maps; ``Ho = (H - height) // stride + 1``, ``Wo`` likewise.

    Raises:
        ValueError: ``impl`` is none of the three.
    """
    if _resolve(impl) == "cpu":
        return cpu.max_pool(x, window, strides)
    # A NumPy constant: with a traced one, JAX knows no gradient of the reduction.
    lowest = np.array(-np.inf, x.dtype)
    return lax.reduce_window(
        x, lowest, lax.max, (1, *window, 1), (1, *strides, 1), "VALID"
    )


def _resolve(impl: str) -> str:
    if impl not in ("auto", "xla", "cpu"):
        raise ValueError(f"unknown impl {impl!r}; known: ['auto', 'cpu', 'xla']")
    if impl == "auto":
        return "cpu" if jax.default_backend() == "cpu" else "xla"
    return impl
