"""The prototype network: label sets to codes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cgat_jax.models.blocks import TORCH_DEFAULT, Dense
from cgat_jax.types import Codes, Labels, PyTree

HIDDEN, FEATURES = 4096, 512


class PrototypeNet(NamedTuple):
    """``init(key, labels) -> params``; ``apply(params, labels) -> codes``."""

    init: Callable[..., PyTree]
    apply: Callable[[PyTree, Labels], Codes]


class _Prototype(nn.Module):
    bits: int

    @nn.compact
    def __call__(self, labels):
        x = nn.relu(Dense(HIDDEN, TORCH_DEFAULT, name="fc1")(labels))
        x = Dense(FEATURES, TORCH_DEFAULT, name="features")(x)
        return jnp.tanh(Dense(self.bits, TORCH_DEFAULT, name="head")(x))


def make_prototype_net(bits: int) -> PrototypeNet:
    """Dense layers of 4096 (ReLU), 512 and ``bits`` units, then tanh.

    References:
        Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of
        Deep Hashing, CVPR 2021; Wang et al., Targeted Attack and Defense for Deep
        Hashing (THA, ATRDH), SIGIR 2021.
    """
    network = _Prototype(bits)

    def init(key: jax.Array, labels: Labels) -> PyTree:
        return network.init(key, labels)["params"]

    def apply(params: PyTree, labels: Labels) -> Codes:
        return network.apply({"params": params}, labels)

    return PrototypeNet(init, apply)
