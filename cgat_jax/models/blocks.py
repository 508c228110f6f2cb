"""The Linen blocks that the networks share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from cgat_jax.models.layers import conv2d

Initializer = Callable[..., jax.Array]

TORCH_DEFAULT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform in +-1 / sqrt(fan in), as PyTorch draws weights by default."""

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalize(images: jax.Array, dtype: str) -> jax.Array:
    """Images in [0, 1] as the networks see them: ImageNet's mean 0 and variance 1."""
    mean, std = jnp.array(_MEAN, images.dtype), jnp.array(_STD, images.dtype)
    channels = (1, 1, 1, 3)
    return ((images - mean.reshape(channels)) / std.reshape(channels)).astype(dtype)


def flatten(x: jax.Array) -> jax.Array:
    """[B, H, W, C] to [B, H * W * C]; PyTorch's order is C, H, W."""
    return x.reshape(len(x), -1)


def check_size(name: str, images: jax.Array, size: int) -> None:
    """Raises a ValueError unless the images are ``size`` pixels square."""
    if images.shape[1:3] != (size, size):
        height, width = images.shape[1:3]
        raise ValueError(
            f"{name} expects images of {size} x {size} pixels, got {height} x {width}"
        )


class Conv(nn.Module):
    """Convolution with bias; strides and padding are equal on both axes."""

    features: int
    width: int
    kernel_init: Initializer
    stride: int = 1
    padding: int = 0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """Maps [B, H, W, I] to [B, Ho, Wo, features]."""
        shape = (self.width, self.width, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        pad = (self.padding, self.padding)
        x = conv2d(
            x,
            kernel.astype(self.dtype),
            strides=(self.stride, self.stride),
            padding=(pad, pad),
        )
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
