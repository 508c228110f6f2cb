"""The Linen blocks that the networks share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from cgat_jax.models.layers.convolution import conv2d

Initializer = Callable[..., jax.Array]

TORCH_DEFAULT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform in +-1 / sqrt(fan in), as PyTorch draws weights by default."""

MOMENTUM = 0.1
"""Share of the newest batch in the running statistics of ``BatchNorm``."""
EPS = 1e-5
"""Added to the variance by ``BatchNorm``."""

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalize(images: jax.Array, dtype: str) -> jax.Array:
    """Images in [0, 1] as the networks see them: ImageNet's mean 0 and variance 1.

    Raises:
        ValueError: they are integers, such as pixels from 0 to 255.
    """
    check_floating(images)
    mean, std = jnp.array(_MEAN, images.dtype), jnp.array(_STD, images.dtype)
    channels = (1, 1, 1, 3)
    return ((images - mean.reshape(channels)) / std.reshape(channels)).astype(dtype)


def flatten(x: jax.Array) -> jax.Array:
    """[B, H, W, C] to [B, H * W * C]; PyTorch's order is C, H, W."""
    return x.reshape(x.shape[0], -1)


def check_floating(images: jax.Array) -> None:
    """Raises a ValueError unless the images are floating point numbers."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images: expected floating point numbers in [0, 1], got {images.dtype}; "
            "divide pixels from 0 to 255 by 255"
        )


def check_size(name: str, images: jax.Array, size: int) -> None:
    """Raises a ValueError unless the images are ``size`` pixels square."""
    if images.shape[1:3] != (size, size):
        height, width = images.shape[1:3]
        raise ValueError(
            f"{name} expects images of {size} x {size} pixels, got {height} x {width}"
        )


def check_least_size(name: str, images: jax.Array, least: int) -> None:
    """Raises a ValueError if a side of the images is below ``least`` pixels."""
    height, width = images.shape[1:3]
    if min(height, width) < least:
        raise ValueError(
            f"{name} expects images of at least {least} x {least} pixels, "
            f"got {height} x {width}"
        )


class Conv(nn.Module):
    """Convolution; strides and padding are equal on both axes."""

    features: int
    width: int
    kernel_init: Initializer
    stride: int = 1
    padding: int = 0
    dtype: str = "float32"
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        """Maps [B, H, W, I] to [B, Ho, Wo, features]."""
        shape = (self.width, self.width, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        pad = (self.padding, self.padding)
        x = conv2d(
            x,
            kernel.astype(self.dtype),
            strides=(self.stride, self.stride),
            padding=(pad, pad),
        )
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        return x + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class Dense(nn.Module):
    """Affine map of the last axis."""

    features: int
    kernel_init: Initializer
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """Maps [B, I] to [B, features] in ``dtype``."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        x = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return x + bias.astype(self.dtype).reshape(1, -1)


class BatchNorm(nn.Module):
    """Batch normalization as PyTorch has it, in float32.

    In training, mean and variance are those of the batch's real rows, over all devices,
    and move the running ones by ``MOMENTUM`` (the running variance is the unbiased
    one); else the running ones are used. A batch of one value a channel, which PyTorch
    refuses, has variance 0 and gives the bias.

    References:
        Ioffe and Szegedy, ICML 2015; torch.nn.BatchNorm2d.
    """

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        """Maps [B, H, W, C] to the same shape; ``mask`` [B] is True on real rows."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        means = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        variances = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        x, mean, var = x.astype(jnp.float32), means.value, variances.value
        if train:
            mean, var, count = _moments(x, mask)
            unbiased = var * count / jnp.maximum(count - 1, 1)
            means.value += MOMENTUM * (mean - means.value)
            variances.value += MOMENTUM * (unbiased - variances.value)
        mean, factor = (
            part.reshape(1, 1, 1, -1)
            for part in (mean, scale * jax.lax.rsqrt(var + EPS))
        )
        return ((x - mean) * factor + bias.reshape(1, 1, 1, -1)).astype(self.dtype)


def _moments(x, mask):
    """Mean and biased variance [C] of the real rows, and the number of values."""
    rows = jnp.ones(len(x), x.dtype) if mask is None else mask.astype(x.dtype)
    count = jnp.maximum(rows.sum(), 1) * (x.shape[1] * x.shape[2])
    rows = rows.reshape(-1, 1, 1, 1)
    mean = (rows * x).sum(axis=(0, 1, 2)) / count
    centered = rows * (x - mean.reshape(1, 1, 1, -1))
    return mean, (centered**2).sum(axis=(0, 1, 2)) / count, count
