"""ResNets as torchvision has them."""

import jax.numpy as jnp
from flax import linen as nn

from cgat_jax.models.layers.blocks import (
    BatchNorm,
    Conv,
    Dense,
    Initializer,
    check_least_size,
    normalize,
)
from cgat_jax.models.layers.convolution import max_pool

MIN_SIZE = 32
WIDTHS = (64, 128, 256, 512)
# Blocks in each of the four groups, and whether a block is a bottleneck.
LAYOUTS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
}
EXPANSION = 4
_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Block(nn.Module):
    """Two 3x3 convolutions beside the identity, or a bottleneck of 1x1, 3x3 and 1x1.

    The stride is that of the (first) 3x3 convolution. Where shapes change, the identity
    becomes a 1x1 convolution, ``downsample_conv``.
    """

    width: int
    stride: int
    bottleneck: bool
    dtype: str

    @nn.compact
    def __call__(self, x, train, mask):
        """Maps [B, H, W, I] to [B, H / stride, W / stride, width (times 4)]."""
        out = self.width * (EXPANSION if self.bottleneck else 1)
        kinds = [(self.width, 3, self.stride), (out, 3, 1)]
        if self.bottleneck:
            kinds = [(self.width, 1, 1), (self.width, 3, self.stride), (out, 1, 1)]

        def conv_bn(x, names, features, width, stride):
            x = Conv(
                features,
                width,
                _init,
                stride,
                width // 2,
                self.dtype,
                use_bias=False,
                name=names[0],
            )(x)
            return BatchNorm(self.dtype, name=names[1])(x, train, mask)

        y = x
        for number, kind in enumerate(kinds, start=1):
            y = conv_bn(y, (f"conv{number}", f"bn{number}"), *kind)
            if number < len(kinds):
                y = nn.relu(y)
        if x.shape[-1] != out or self.stride != 1:
            names = ("downsample_conv", "downsample_bn")
            x = conv_bn(x, names, out, 1, self.stride)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A 7x7 convolution, four groups of blocks, and the mean over positions.

    No weight depends on the image size, so all of them transfer between sizes. There is
    no dropout. Weights start as torchvision draws them; in bottlenecks the 3x3
    convolution has the stride, as there.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016;
        torchvision.models.resnet.
    """

    depths: tuple[int, ...]
    bottleneck: bool
    outputs: int
    head_init: Initializer
    dropout: float = 0.0  # not used
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train: bool = False, mask=None):
        """Maps [B, H, W, 3] in [0, 1] to float32 logits [B, outputs].

        ``mask`` [B]: the rows that batch statistics are of.
        """
        check_least_size("resnet", images, MIN_SIZE)
        x = normalize(images, self.dtype)
        conv = Conv(64, 7, _init, 2, 3, self.dtype, use_bias=False, name="conv1")
        x = nn.relu(BatchNorm(self.dtype, name="bn1")(conv(x), train, mask))
        # After ReLU a border of zeros is never above a maximum.
        x = max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (2, 2))
        for group, (depth, width) in enumerate(zip(self.depths, WIDTHS, strict=True)):
            for position in range(depth):
                stride = 2 if group and not position else 1
                name = f"layer{group + 1}_{position}"
                block = Block(width, stride, self.bottleneck, self.dtype, name=name)
                x = block(x, train, mask)
        x = x.astype("float32").mean(axis=(1, 2))
        return Dense(self.outputs, self.head_init, name="head")(x)
