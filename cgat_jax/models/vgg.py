"""VGG networks as torchvision has them, without and with batch normalization."""

from flax import linen as nn

from cgat_jax.models.layers.blocks import (
    BatchNorm,
    Conv,
    Dense,
    Initializer,
    check_size,
    flatten,
    normalize,
)
from cgat_jax.models.layers.convolution import max_pool

IMAGE_SIZE = 224
WIDTHS = (64, 128, 256, 512, 512)
# Convolutions in each of the five groups; a max pooling ends each group.
DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_dense_init = nn.initializers.normal(0.01)


class VGG(nn.Module):
    """3x3 convolutions in five groups and three dense layers.

    Dropout follows ``fc1`` and ``fc2``, so one lies directly before ``head``. With
    ``batch_norm``, a ``BatchNorm`` follows each convolution (vgg11_bn, ...). Weights
    start as torchvision draws them. Features are flattened in the order H, W, C.
    Pooling comes before ReLU, which gives the same values and gradients for less work.

    References:
        Simonyan and Zisserman, ICLR 2015 (arXiv:1409.1556), configurations A, B, D
        and E; torchvision.models.vgg.
    """

    depths: tuple[int, ...]
    batch_norm: bool
    outputs: int
    head_init: Initializer
    dropout: float = 0.5
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train: bool = False, mask=None):
        """Maps [B, 224, 224, 3] in [0, 1] to float32 logits [B, outputs].

        ``mask`` [B]: the rows that batch statistics are of.
        """
        check_size("vgg", images, IMAGE_SIZE)
        x, number = normalize(images, self.dtype), 0
        for depth, width in zip(self.depths, WIDTHS, strict=True):
            for position in range(depth):
                number += 1
                conv = Conv(
                    width,
                    3,
                    _conv_init,
                    padding=1,
                    dtype=self.dtype,
                    name=f"conv{number}",
                )
                x = conv(x)
                if self.batch_norm:
                    x = BatchNorm(self.dtype, name=f"bn{number}")(x, train, mask)
                if position == depth - 1:
                    x = max_pool(x, (2, 2), (2, 2))
                x = nn.relu(x)
        x = flatten(x)

        for name in ("fc1", "fc2"):
            x = nn.relu(Dense(4096, _dense_init, self.dtype, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(self.outputs, self.head_init, name="head")(x)
