"""Hashing networks behind ``HashModel``: two pure functions and plain dicts."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from cgat_jax.errors import InputError, lookup
from cgat_jax.models.alexnet import AlexNet
from cgat_jax.models.layers.blocks import Initializer
from cgat_jax.models.medium import Medium
from cgat_jax.models.resnet import LAYOUTS, ResNet
from cgat_jax.models.small import Small
from cgat_jax.models.vgg import DEPTHS, IMAGE_SIZE, VGG
from cgat_jax.types import HashModel

__all__ = ["BACKBONES", "DTYPES", "FIXED_SIZES", "make_model"]

BACKBONES = {
    "alexnet": AlexNet,
    **{name: partial(VGG, depths, False) for name, depths in DEPTHS.items()},
    **{f"{name}_bn": partial(VGG, depths, True) for name, depths in DEPTHS.items()},
    **{name: partial(ResNet, *layout) for name, layout in LAYOUTS.items()},
    "small": Small,
    "medium": Medium,
}
FIXED_SIZES = {
    name: IMAGE_SIZE
    for name in ("alexnet", *DEPTHS, *(f"{name}_bn" for name in DEPTHS))
}
"""The side in pixels of networks that take no other."""
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

    Equal arguments give the same object, so that what was compiled for one use of a
    network serves all.

    ``params`` is {"conv1": {"kernel", "bias"}, ..., "head": {...}}, all float32;
    ``stats`` is {"bn1": {"mean", "var"}, ...} in networks with batch normalization and
    empty in others. Images are float32 in [0, 1]; logits are float32. ``init`` raises a
    ValueError for an image size that the network does not take: AlexNet and VGG take
    224 x 224 alone.

    Args:
        name: a key of ``BACKBONES``.
        outputs: code length in bits, or number of classes.
        dtype: type of the computation, one of ``DTYPES``; the head is always float32.
        dropout: rate in [0, 1) of the dropout layers, active where ``apply`` gets a
            key.
        head_init: ``head_init(key, shape, dtype)`` draws the head's weights; N(0,
            0.01^2) if left out. Its bias starts at 0.

    Raises:
        InputError: an argument is out of its range; for an unknown name, the message
            lists the known ones and the nearest.
    """
    lookup("model", name, BACKBONES)
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; known: {sorted(DTYPES)}")
    if outputs < 1:
        raise InputError(f"outputs must be at least 1, got {outputs}")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout must be in [0, 1), got {dropout}")
    return _made(name, outputs, dtype, float(dropout), head_init)


@lru_cache(maxsize=64)
def _made(
    name: str, outputs: int, dtype: str, dropout: float, head_init: Initializer | None
) -> HashModel:
    network = BACKBONES[name](
        outputs=outputs,
        head_init=head_init or jax.nn.initializers.normal(0.01),
        dropout=dropout,
        dtype=dtype,
    )
    return _as_functions(network)


def _as_functions(network: nn.Module) -> HashModel:
    def init(key, images):
        variables = network.init(key, images)
        return variables["params"], variables.get("batch_stats", {})

    def apply(params, stats, images, *, key=None, mask=None):
        train = key is not None
        rngs = {"dropout": key} if train else None
        if not stats:
            logits = network.apply({"params": params}, images, train, rngs=rngs)
            return logits, stats
        variables = {"params": params, "batch_stats": stats}
        if not train:
            return network.apply(variables, images), stats
        logits, updated = network.apply(
            variables, images, train, mask, rngs=rngs, mutable="batch_stats"
        )
        if mask is not None:
            # Padded rows see the statistics of real ones, but must not pull at them.
            still = jax.lax.stop_gradient(logits)
            logits = jnp.where(mask.reshape(-1, 1), logits, still)
        return logits, updated["batch_stats"]

    return HashModel(init, apply)
