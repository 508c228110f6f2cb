"""The prototype network: label sets to codes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from cgat_jax.models.layers.blocks import TORCH_DEFAULT, Dense
from cgat_jax.precision import full_precision
from cgat_jax.types import Codes, Labels, PyTree

HIDDEN, FEATURES = 4096, 512


class PrototypeOutputs(NamedTuple):
    """What a prototype network makes of label sets.

    ``codes`` in (-1, 1), ``features`` unbounded, ``classes`` in (0, 1).
    """

    codes: Codes
    features: Float[Array, "B F"]
    classes: Labels


class PrototypeNet(NamedTuple):
    """``init(key, labels) -> params``; ``apply(params, labels) -> codes``.

    ``outputs(params, labels) -> PrototypeOutputs`` is of networks with a classifier.
    """

    init: Callable[..., PyTree]
    apply: Callable[[PyTree, Labels], Codes]
    outputs: Callable[[PyTree, Labels], PrototypeOutputs]


class _Prototype(nn.Module):
    bits: int
    classifier: bool

    @nn.compact
    def __call__(self, labels):
        x = nn.relu(Dense(HIDDEN, TORCH_DEFAULT, name="fc1")(labels))
        x = Dense(FEATURES, TORCH_DEFAULT, name="features")(x)
        codes = jnp.tanh(Dense(self.bits, TORCH_DEFAULT, name="head")(x))
        if not self.classifier:
            return codes
        logits = Dense(labels.shape[1], TORCH_DEFAULT, name="classifier")(x)
        return PrototypeOutputs(codes, x, nn.sigmoid(logits))


def make_prototype_net(bits: int, *, classifier: bool = False) -> PrototypeNet:
    """Dense layers of 4096 (ReLU), 512 and ``bits`` units, then tanh.

    It makes references, so it computes in full float32 on every device.

    Args:
        bits: code length K.
        classifier: with a second head on the 512 features, which tells the label set
            again; ProS-GAN has it, and generates images from the features.

    References:
        Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of
        Deep Hashing, CVPR 2021; Wang et al., Targeted Attack and Defense for Deep
        Hashing (THA, ATRDH), SIGIR 2021.
    """
    network = _Prototype(bits, classifier)

    def init(key: jax.Array, labels: Labels) -> PyTree:
        return network.init(key, labels)["params"]

    @full_precision
    def outputs(params: PyTree, labels: Labels):
        return network.apply({"params": params}, labels)

    def apply(params: PyTree, labels: Labels) -> Codes:
        made = outputs(params, labels)
        return made.codes if classifier else made

    return PrototypeNet(init, apply, outputs)
