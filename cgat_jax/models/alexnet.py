"""AlexNet as torchvision has it."""

from flax import linen as nn

from cgat_jax.models.layers.blocks import (
    TORCH_DEFAULT,
    Conv,
    Dense,
    Initializer,
    check_size,
    flatten,
    normalize,
)
from cgat_jax.models.layers.convolution import max_pool

IMAGE_SIZE = 224


class AlexNet(nn.Module):
    """Five convolutions and three dense layers; dropout before ``fc1`` and ``fc2``.

    Weights start as PyTorch's default draws them, biases at 0 (PyTorch draws them
    too). Features are flattened in the order H, W, C. Pooling comes before ReLU, which
    gives the same values and gradients for less work.

    References:
        Krizhevsky, One weird trick for parallelizing convolutional neural networks,
        2014 (arXiv:1404.5997); torchvision.models.alexnet.
    """

    outputs: int
    head_init: Initializer
    dropout: float = 0.5
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train: bool = False):
        """Maps [B, 224, 224, 3] in [0, 1] to float32 logits [B, outputs]."""
        check_size("alexnet", images, IMAGE_SIZE)

        def conv(name, features, width, **geometry):
            return Conv(
                features, width, TORCH_DEFAULT, dtype=self.dtype, name=name, **geometry
            )

        x = normalize(images, self.dtype)
        x = conv("conv1", 64, 11, stride=4, padding=2)(x)
        x = nn.relu(max_pool(x, (3, 3), (2, 2)))
        x = conv("conv2", 192, 5, padding=2)(x)
        x = nn.relu(max_pool(x, (3, 3), (2, 2)))
        x = nn.relu(conv("conv3", 384, 3, padding=1)(x))
        x = nn.relu(conv("conv4", 256, 3, padding=1)(x))
        x = conv("conv5", 256, 3, padding=1)(x)
        x = flatten(nn.relu(max_pool(x, (3, 3), (2, 2))))

        for name in ("fc1", "fc2"):
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = nn.relu(Dense(4096, TORCH_DEFAULT, self.dtype, name=name)(x))
        return Dense(self.outputs, self.head_init, name="head")(x)
