"""Hashing networks behind ``HashModel``: two pure functions and plain dicts."""

from functools import partial

import jax
from flax import linen as nn

from cgat_jax.models.alexnet import AlexNet
from cgat_jax.models.blocks import Initializer
from cgat_jax.models.small import Small
from cgat_jax.models.vgg import DEPTHS, VGG
from cgat_jax.settings import lookup
from cgat_jax.types import HashModel

__all__ = ["BACKBONES", "DTYPES", "make_model"]

BACKBONES = {
    "alexnet": AlexNet,
    "vgg11": partial(VGG, DEPTHS["vgg11"]),
    "vgg13": partial(VGG, DEPTHS["vgg13"]),
    "vgg16": partial(VGG, DEPTHS["vgg16"]),
    "vgg19": partial(VGG, DEPTHS["vgg19"]),
    "small": Small,
}
DTYPES = ("float32", "bfloat16")


def make_model(
    name: str,
    *,
    outputs: int,
    dtype: str = "float32",
    dropout: float = 0.5,
    head_init: Initializer | None = None,
) -> HashModel:
    """A network whose last layer, ``head``, has ``outputs`` units.

    ``params`` is {"conv1": {"kernel", "bias"}, ..., "head": {...}}, all float32;
    ``stats`` is empty, and so is what ``apply`` gives back. Images are float32 in
    [0, 1]; logits are float32. ``init`` raises a ValueError for an image size that the
    network does not take: AlexNet and VGG take 224 x 224 alone.

    Args:
        name: a key of ``BACKBONES``.
        outputs: code length in bits, or number of classes.
        dtype: type of the computation, one of ``DTYPES``; the head is always float32.
        dropout: rate in [0, 1) of the dropout layers, active where ``apply`` gets a
            key.
        head_init: ``head_init(key, shape, dtype)`` draws the head's weights; N(0,
            0.01^2) if left out. Its bias starts at 0.

    Raises:
        ValueError: an argument is out of its range; for an unknown name, the message
            lists the known ones and the nearest.
    """
    backbone = lookup("model", name, BACKBONES)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {sorted(DTYPES)}")
    if outputs < 1:
        raise ValueError(f"outputs must be at least 1, got {outputs}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    network = backbone(
        outputs=outputs,
        head_init=head_init or jax.nn.initializers.normal(0.01),
        dropout=dropout,
        dtype=dtype,
    )
    return _as_functions(network)


def _as_functions(network: nn.Module) -> HashModel:
    def init(key, images):
        return network.init(key, images)["params"], {}

    def apply(params, stats, images, *, key=None):
        train = key is not None
        rngs = {"dropout": key} if train else None
        logits = network.apply({"params": params}, images, train, rngs=rngs)
        return logits, stats

    return HashModel(init, apply)
