"""A network that somebody gives: a function, or a trained network of this package."""

import re
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cgat_jax import sharding
from cgat_jax.attacks.inputs import code_length, logits_function
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.images import center_crop
from cgat_jax.errors import InputError
from cgat_jax.evaluation.attack_runner import Network
from cgat_jax.evaluation.network import Network as TrainedNetwork
from cgat_jax.types import HashModel

UNKNOWN = "given"
"""What records say of a network where it is not known."""
_LOOKED_AT = 4  # images


class GivenNetwork(NamedTuple):
    """A network with what is known of it.

    ``crop_size`` is the side of the images that it takes and ``image_size`` the short
    side of those that it sees the center of, 0 where it does not say. One
    is ``foreign`` that is no ``Network``: its arrays do not say what it does.
    """

    model: HashModel
    network: Network
    backbone: str = UNKNOWN
    loss: str = UNKNOWN
    defense: str = UNKNOWN
    dtype: str = "float32"
    crop_size: int = 0
    image_size: int = 0
    enlarge: bool = True
    foreign: bool = True


def given_network(encode: Any) -> GivenNetwork:
    """A network as the evaluation takes it.

    Args:
        encode: a function from images to logits, or a trained network with its
            ``model``, ``params`` and ``stats``, and maybe a ``card`` that describes it.

    Raises:
        InputError: it is neither.
    """
    function = logits_function(encode)
    if isinstance(model := getattr(encode, "model", None), HashModel):
        card = getattr(encode, "card", {})
        words = {key: _word(card.get(key)) for key in ("backbone", "loss", "defense")}
        network = encode.params, encode.stats
        foreign = type(encode) is not TrainedNetwork
        if not foreign:
            known = ("dtype", "crop_size", "image_size", "enlarge")
            words |= {key: card[key] for key in known}
        elif "crop_size" in card:
            words["crop_size"] = card["crop_size"]
        return GivenNetwork(model, network, **words, foreign=foreign)

    def apply(params, stats, images, *, key=None, mask=None):
        return function(images).astype(jnp.float32), stats

    return GivenNetwork(HashModel(_no_weights, apply), ({}, {}))


def bits_of(given: GivenNetwork, side: int) -> int:
    """Code length for square images of a side in pixels.

    Raises:
        InputError: JAX cannot trace the network, or it gives no logits [n, K].
    """
    model, network = given.model, given.network
    return code_length(lambda images: model.apply(*network, images)[0], (side, side, 3))


def check_outputs(given: GivenNetwork, dataset: Dataset, side: int) -> None:
    """Looks at a few queries' logits.

    Raises:
        InputError: they are not finite.
    """
    positions = dataset.split.query[:_LOOKED_AT]
    pixels = np.stack([center_crop(dataset.read(int(i)), side) for i in positions])
    images = sharding.to_images(jnp.asarray(pixels))
    if not jnp.isfinite(given.model.apply(*given.network, images)[0]).all():
        raise InputError("encode: its logits of the first queries are not all finite")


def _no_weights(key, images):
    return {}, {}


def _word(value: Any) -> str:
    """A name that can be one of a folder; a card may come from anywhere."""
    sound = isinstance(value, str) and re.fullmatch("[A-Za-z0-9_]+", value)
    return value if sound else UNKNOWN
