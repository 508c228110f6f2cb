"""Convolution and max pooling written for XLA:CPU.

Inside a loop body, XLA:CPU has a fast path only for convolutions that are literally
NHWC x HWIO -> NHWC (jax-ml/jax#12868). The gradients that JAX derives are not, and run
2 to 70 times slower there. So the gradients here are written in that form.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")
# Up to so many input channels, one matrix product and shifted sums beat a convolution.
_FEW_CHANNELS = 4


def plain_conv(x, kernel, strides, padding, **dilations):
    """``lax.conv_general_dilated`` in the one layout used here."""
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=_LAYOUT, **dilations
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv2d(x, kernel, strides, padding):
    """``plain_conv`` with gradients that are fast on XLA:CPU, also inside loops."""
    return plain_conv(x, kernel, strides, padding)


def _conv2d_forward(x, kernel, strides, padding):
    return plain_conv(x, kernel, strides, padding), (x, kernel)


def _conv2d_backward(strides, padding, residuals, cotangent):
    x, kernel = residuals
    return (
        input_gradient(cotangent, kernel, strides, padding, x.shape[1:3]),
        kernel_gradient(cotangent, x, strides, padding, kernel.shape[:2]),
    )


conv2d.defvjp(_conv2d_forward, _conv2d_backward)


def input_gradient(
    cotangent: Float[Array, "B Ho Wo O"],
    kernel: Float[Array, "h w I O"],
    strides: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    size: tuple[int, int],
) -> Float[Array, "B H W I"]:
    """Gradient of a convolution with respect to its input of the given ``size``.

    A strided convolution is a stride-1 convolution of the input rearranged from space
    to depth, so its gradient is the stride-1 gradient rearranged back; no product with
    the zeros of a dilated cotangent is computed.
    """
    if strides == (1, 1):
        margins = [
            (length - 1 - low, full - out + low)
            for length, full, out, (low, _) in zip(
                kernel.shape[:2], size, cotangent.shape[1:3], padding, strict=True
            )
        ]
        return _stride_one(cotangent, kernel, margins)
    blocks = _space_to_depth(kernel, strides)
    height, width = blocks.shape[:2]
    margins = [(height - 1, height - 1), (width - 1, width - 1)]
    padded = _depth_to_space(_stride_one(cotangent, blocks, margins), strides)
    crop = [
        (-low, full + low - have, 0)
        for full, have, (low, _) in zip(size, padded.shape[1:3], padding, strict=True)
    ]
    zero = jnp.zeros((), padded.dtype)
    return lax.pad(padded, zero, [(0, 0, 0), *crop, (0, 0, 0)])


def kernel_gradient(
    cotangent: Float[Array, "B Ho Wo O"],
    x: Float[Array, "B H W I"],
    strides: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    size: tuple[int, int],
) -> Float[Array, "h w I O"]:
    """Gradient of a convolution with respect to its kernel of the given ``size``."""
    margins = [
        (low, length + (out - 1) * stride - full - low)
        for length, out, stride, full, (low, _) in zip(
            size, cotangent.shape[1:3], strides, x.shape[1:3], padding, strict=True
        )
    ]
    # Without the barrier XLA folds the transposes into the convolution's layout, and
    # the loop body has no fast path for that.
    operands = x.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3)
    lhs, rhs = lax.optimization_barrier(operands)
    gradient = plain_conv(lhs, rhs, (1, 1), margins, rhs_dilation=strides)
    return gradient.transpose(1, 2, 0, 3)


_HALVING = ((2, 2), ((1, 1), (1, 1)))  # strides and padding


@jax.custom_vjp
def conv2d_transpose(x, kernel):
    """The adjoint of a 4x4 convolution of stride 2 and padding 1, kernel [4, 4, I, O].

    Its gradients are that convolution's forward pass and its kernel's gradient; those
    that JAX derives of this form take a hundred times as long.
    """
    size = (2 * x.shape[1], 2 * x.shape[2])
    return input_gradient(x, kernel.transpose(0, 1, 3, 2), *_HALVING, size)


def _conv2d_transpose_forward(x, kernel):
    return conv2d_transpose(x, kernel), (x, kernel)


def _conv2d_transpose_backward(residuals, cotangent):
    x, kernel = residuals
    of_kernel = kernel_gradient(x, cotangent, *_HALVING, kernel.shape[:2])
    return (
        plain_conv(cotangent, kernel.transpose(0, 1, 3, 2), *_HALVING),
        of_kernel.transpose(0, 1, 3, 2),
    )


conv2d_transpose.defvjp(_conv2d_transpose_forward, _conv2d_transpose_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(
    x: Float[Array, "B H W C"], window: tuple[int, int], strides: tuple[int, int]
) -> Float[Array, "B Ho Wo C"]:
    """Max pooling as a chain of strided slices; the first maximum wins.

    XLA:CPU turns the gradient of ``reduce_window`` into a slow scatter, and that of the
    chain into nested sums of padded arrays; this one selects each window's first
    maximum again. A NaN behind another value of its window is lost.
    """
    best = None
    for value in _window_values(x, window, strides):
        best = value if best is None else jnp.where(value > best, value, best)
    return best


def _max_pool_forward(x, window, strides):
    best = max_pool(x, window, strides)
    return best, (x, best)


def _max_pool_backward(window, strides, residuals, cotangent):
    x, best = residuals
    zero, free, parts = jnp.zeros((), x.dtype), jnp.ones(best.shape, bool), []
    for value in _window_values(x, window, strides):
        first = free & (value == best)
        free = free & ~first
        parts.append(jnp.where(first, cotangent, zero))
    (height, width), (rows, columns) = x.shape[1:3], best.shape[1:3]
    if window == strides:  # no two windows share a pixel: nothing to add
        blocks = _depth_to_space(jnp.concatenate(parts, axis=-1), strides)
        rest = (height - blocks.shape[1], width - blocks.shape[2])
        return (jnp.pad(blocks, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0))),)
    total, (s, t) = 0.0, strides
    for part, (i, j) in zip(parts, _offsets(window), strict=True):
        after = (height - i - (rows - 1) * s - 1, width - j - (columns - 1) * t - 1)
        spread = [(0, 0, 0), (i, after[0], s - 1), (j, after[1], t - 1), (0, 0, 0)]
        total = total + lax.pad(part, zero, spread)
    return (total,)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _offsets(window):
    return itertools.product(range(window[0]), range(window[1]))


def _window_values(x, window, strides):
    """For each place in a window, in reading order, its value in every window."""
    batch, height, width, channels = x.shape
    rows, columns = (
        (full - length) // stride
        for full, length, stride in zip((height, width), window, strides, strict=True)
    )
    for i, j in _offsets(window):
        limits = (i + rows * strides[0] + 1, j + columns * strides[1] + 1)
        start, stop = (0, i, j, 0), (batch, *limits, channels)
        yield lax.slice(x, start, stop, (1, *strides, 1))


def _stride_one(cotangent, kernel, margins):
    """Convolves the padded cotangent with the flipped, transposed kernel."""
    flipped = jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2)
    if kernel.shape[2] > _FEW_CHANNELS:
        return plain_conv(cotangent, flipped, (1, 1), margins)
    height, width, outputs, channels = flipped.shape
    taps = cotangent @ flipped.transpose(2, 0, 1, 3).reshape(outputs, -1)
    zero = jnp.zeros((), taps.dtype)
    spatial = [(low, high, 0) for low, high in margins]
    taps = lax.pad(taps, zero, [(0, 0, 0), *spatial, (0, 0, 0)])
    rows, columns = taps.shape[1] - height + 1, taps.shape[2] - width + 1
    total = 0.0
    for n, (i, j) in enumerate(itertools.product(range(height), range(width))):
        part = taps[:, i : i + rows, j : j + columns, n * channels : (n + 1) * channels]
        total = total + part
    return total


def _space_to_depth(kernel, strides):
    """[h, w, I, O] to [h / s, w / s, s * s * I, O], zero padded to whole blocks."""
    (height, width, channels, outputs), (s, t) = kernel.shape, strides
    blocks_h, blocks_w = -(-height // s), -(-width // t)
    excess = ((0, blocks_h * s - height), (0, blocks_w * t - width), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, excess).reshape(
        blocks_h, s, blocks_w, t, channels, outputs
    )
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(blocks_h, blocks_w, s * t * channels, outputs)


def _depth_to_space(x, strides):
    """[B, H, W, s * s * C] to [B, s * H, s * W, C]."""
    (batch, height, width, depth), (s, t) = x.shape, strides
    x = x.reshape(batch, height, width, s, t, depth // (s * t))
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * s, width * t, -1)
