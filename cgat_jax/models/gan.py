"""The generator and the discriminator of ProS-GAN, for images of any multiple of 16.

Both take images in [0, 1]; their first line turns them into [-1, 1].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from cgat_jax.models.layers.blocks import TORCH_DEFAULT, Dense, check_floating
from cgat_jax.models.layers.convolution import conv2d, conv2d_transpose
from cgat_jax.models.layers.norms import instance_norm, power_iteration, unit
from cgat_jax.types import Images, PyTree

MIN_SIZE, MULTIPLE = 32, 16
LABEL_WIDTHS = (128, 64, 32, 16, 8)
IMAGE_WIDTHS = (64, 128, 256)
JUDGE_WIDTHS = (64, 128, 256, 512, 1024)
BLOCKS, SLOPE = 6, 0.01
# A transposed convolution's fan in is, to PyTorch, its outputs times its area.
_UPWARDS = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")


class Generator(NamedTuple):
    """``init(key, images, features) -> params``; ``apply(params, images, features)``.

    ``apply`` returns images in [0, 1], each made of its own image and features alone.
    """

    init: Callable[..., PyTree]
    apply: Callable[[PyTree, Images, Float[Array, "B F"]], Images]


class Discriminator(NamedTuple):
    """``init(key, images) -> (params, vectors)``; ``apply(params, vectors, images)``.

    ``apply`` returns (outputs [B, C + 1], vectors). ``vectors`` are the singular
    vectors of each kernel as far as they are known; every call improves them.
    """

    init: Callable[[PRNGKeyArray, Images], tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[Float[Array, "B O"], PyTree]]


def make_generator(*, width: float = 1.0) -> Generator:
    """The network that adds a target's features to images.

    The features become one map of three channels, as large as the image, which joins
    the image; two strided convolutions, six residual blocks and two transposed
    convolutions follow, and the image joins again before the last convolution. The
    output is the image itself, not a perturbation: nothing bounds how far it moves.

    Args:
        width: share of the paper's channels, in (0, 1].

    Raises:
        ValueError: the width is out of its range; from ``init``, the images are
            smaller than 32 pixels or no multiple of 16.

    References:
        Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of
        Deep Hashing, CVPR 2021; channels of its released code.
        Convolutions before an instance normalization have no bias, which it would
        remove.
    """
    network = _Generator(_checked(width))

    def init(key, images, features):
        return network.init(key, images, features)["params"]

    def apply(params, images, features):
        return network.apply({"params": params}, images, features)

    return Generator(init, apply)


def make_discriminator(classes: int, *, width: float = 1.0) -> Discriminator:
    """The network that tells classes, and original images from generated ones.

    Five strided convolutions with spectral normalization, then one as large as what
    is left of the image. Each call runs one power iteration, in evaluation as well.

    Args:
        classes: C; there is one output for each, and one for "generated".
        width: share of the paper's channels, in (0, 1].

    Raises:
        ValueError: as ``make_generator``.

    References:
        Wang et al., CVPR 2021; Miyato et al., Spectral Normalization for
        Generative Adversarial Networks, ICLR 2018, Algorithm 1.
    """
    network = _Discriminator(classes + 1, _checked(width))

    def init(key, images):
        variables = network.init(key, images)
        return variables["params"], variables["vectors"]

    def apply(params, vectors, images):
        variables = {"params": params, "vectors": vectors}
        outputs, changed = network.apply(variables, images, mutable=["vectors"])
        return outputs, changed["vectors"]

    return Discriminator(init, apply)


def _checked(width: float) -> float:
    if not 0 < width <= 1:
        raise ValueError(f"width must be in (0, 1], got {width}")
    return width


def _check_images(images) -> tuple[int, int]:
    check_floating(images)
    height, columns = images.shape[1:3]
    if min(height, columns) < MIN_SIZE or height % MULTIPLE or columns % MULTIPLE:
        raise ValueError(
            f"ProS-GAN expects images of at least {MIN_SIZE} pixels and a multiple of "
            f"{MULTIPLE}, got {height} x {columns}"
        )
    return height // MULTIPLE, columns // MULTIPLE


def _scaled(channels: int, width: float) -> int:
    return max(round(channels * width), 1)


class _Conv(nn.Module):
    """Convolution without bias, normalization and ReLU as asked."""

    features: int
    size: int
    stride: int = 1
    norm: bool = True
    relu: bool = True

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", TORCH_DEFAULT, shape, jnp.float32)
        pad = ((self.size - 1) // 2,) * 2
        x = conv2d(x, kernel, strides=(self.stride,) * 2, padding=(pad, pad))
        x = instance_norm(x) if self.norm else x
        return nn.relu(x) if self.relu else x


class _Up(nn.Module):
    """Transposed convolution 4x4 to twice the size, instance normalization, ReLU."""

    features: int

    @nn.compact
    def __call__(self, x):
        shape = (4, 4, x.shape[-1], self.features)
        kernel = self.param("kernel", _UPWARDS, shape, jnp.float32)
        return nn.relu(instance_norm(conv2d_transpose(x, kernel)))


class _Generator(nn.Module):
    width: float

    @nn.compact
    def __call__(self, images, features):
        size = _check_images(images)
        x = 2 * images - 1
        first, second, third = (_scaled(n, self.width) for n in IMAGE_WIDTHS)
        y = jnp.concatenate([x, self._label_map(features, size)], axis=-1)
        y = _Conv(first, 7, name="conv1")(y)
        y = _Conv(second, 4, stride=2, name="conv2")(y)
        y = _Conv(third, 4, stride=2, name="conv3")(y)
        for number in range(1, BLOCKS + 1):
            z = _Conv(third, 3, name=f"block{number}_conv1")(y)
            y = y + _Conv(third, 3, relu=False, name=f"block{number}_conv2")(z)
        y = _Up(second, name="up1")(y)
        y = _Up(first, name="up2")(y)
        y = jnp.concatenate([y, x], axis=-1)
        y = jnp.tanh(_Conv(3, 3, norm=False, relu=False, name="conv4")(y))
        return (y + 1) / 2

    def _label_map(self, features, size):
        """Three channels as large as the image, of 1/16 of its ``size``."""
        start, *widths = (_scaled(n, self.width) for n in LABEL_WIDTHS)
        units = start * size[0] * size[1]
        z = nn.relu(Dense(units, TORCH_DEFAULT, name="label_fc")(features))
        z = z.reshape(len(z), *size, start)
        for number, channels in enumerate(widths, start=1):
            z = _Up(channels, name=f"label_up{number}")(z)
        return _Conv(3, 3, norm=False, relu=False, name="label_conv")(z)


class _SpectralConv(nn.Module):
    """Convolution 4x4 to half the size by a kernel of spectral norm 1, with bias."""

    features: int

    @nn.compact
    def __call__(self, x):
        shape = (4, 4, x.shape[-1], self.features)
        kernel = self.param("kernel", TORCH_DEFAULT, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        matrix = kernel.reshape(-1, self.features)
        v, u = self._vector("v", len(matrix)), self._vector("u", self.features)
        norm, v.value, u.value = power_iteration(matrix, u.value)
        x = conv2d(x, kernel / norm, strides=(2, 2), padding=((1, 1), (1, 1)))
        return x + bias.reshape(1, 1, 1, -1)

    def _vector(self, name, length):
        def draw():
            key = self.make_rng("params")
            return unit(jax.random.normal(key, (length,), jnp.float32))

        return self.variable("vectors", name, draw)


class _Discriminator(nn.Module):
    outputs: int
    width: float

    @nn.compact
    def __call__(self, images):
        _check_images(images)
        x = 2 * images - 1
        for number, channels in enumerate(JUDGE_WIDTHS, start=1):
            x = _SpectralConv(_scaled(channels, self.width), name=f"conv{number}")(x)
            x = nn.leaky_relu(x, SLOPE)
        shape = (*x.shape[1:], self.outputs)
        kernel = self.param("kernel", TORCH_DEFAULT, shape, jnp.float32)
        return x.reshape(len(x), -1) @ kernel.reshape(-1, self.outputs)
