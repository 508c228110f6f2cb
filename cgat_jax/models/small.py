"""A network for images of 32 to 64 pixels that trains on two CPU cores."""

from flax import linen as nn

from cgat_jax.models.layers.blocks import (
    Conv,
    Dense,
    Initializer,
    check_least_size,
    normalize,
)
from cgat_jax.models.layers.convolution import max_pool

MIN_SIZE = 16
WIDTHS = (32, 48, 96, 192)
_init = nn.initializers.he_normal()


class Small(nn.Module):
    """Four 3x3 convolutions, the maximum over positions, and two dense layers.

    The first convolution has stride 2 and a max pooling follows each of the first
    three, so a 48 pixel image ends as 3 x 3 features and a 32 pixel one as 2 x 2. Their
    maximum goes to ``fc1``: no weight depends on the image size, so all of them
    transfer between sizes. Dropout follows ``fc1``.
    """

    outputs: int
    head_init: Initializer
    dropout: float = 0.5
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train: bool = False):
        """Maps [B, H, W, 3] in [0, 1] to float32 logits [B, outputs]."""
        check_least_size("small", images, MIN_SIZE)
        x = normalize(images, self.dtype)
        for number, width in enumerate(WIDTHS, start=1):
            stride = 2 if number == 1 else 1
            x = Conv(width, 3, _init, stride, 1, self.dtype, name=f"conv{number}")(x)
            if number < len(WIDTHS):
                x = max_pool(x, (2, 2), (2, 2))
            x = nn.relu(x)
        x = x.max(axis=(1, 2))

        x = nn.relu(Dense(256, _init, self.dtype, name="fc1")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(self.outputs, self.head_init, name="head")(x)
