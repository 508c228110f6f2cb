"""A network for photos of 32 pixels that trains on two CPU cores."""

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
WIDTHS = ((48, 48), (96, 96), (192,))
_init = nn.initializers.he_normal()


class Medium(nn.Module):
    """Five convolutions, the maximum over positions, and two dense layers.

    The first convolution, 4x4, has stride 2; the others are 3x3, and a max pooling
    follows the second and the fourth: a 32 pixel image ends as 4 x 4 features. Their
    maximum goes to ``fc1``, so that no weight depends on the image size. Dropout
    follows ``fc1``. At 32 pixels a forward pass is 28 MFLOP, eight times ``small``.
    """

    outputs: int
    head_init: Initializer
    dropout: float = 0.5
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train: bool = False):
        """Maps [B, H, W, 3] in [0, 1] to float32 logits [B, outputs]."""
        check_least_size("medium", images, MIN_SIZE)
        x, number = normalize(images, self.dtype), 0
        for group in WIDTHS:
            for width in group:
                number += 1
                side, stride = (4, 2) if number == 1 else (3, 1)
                name = f"conv{number}"
                x = Conv(width, side, _init, stride, 1, self.dtype, name=name)(x)
                if number in (2, 4):
                    x = max_pool(x, (2, 2), (2, 2))
                x = nn.relu(x)
        x = x.max(axis=(1, 2))
        x = nn.relu(Dense(256, _init, self.dtype, name="fc1")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(self.outputs, self.head_init, name="head")(x)
