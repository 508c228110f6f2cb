"""Images and their views to logits, by the network that is meant."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from cgat_jax import sharding
from cgat_jax.alarm.views import VIEWS, view_logits
from cgat_jax.data.crops import center_crops
from cgat_jax.errors import InputError, NonFiniteError
from cgat_jax.evaluation.network import Network
from cgat_jax.types import HashModel


def encoded_views(
    network: Network, images: Sequence[Any] | np.ndarray, batch_size: int
) -> Float32[np.ndarray, "V n K"]:
    """Logits of images and of their views; the last batch is padded.

    Args:
        network: it encodes them.
        images: n of any sizes, as ``Network.logits`` takes them.
        batch_size: images at once, a compiled program each; the views come on top.

    Raises:
        InputError: an image cannot be used.
        NonFiniteError: the network gives numbers that are not finite.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, got {batch_size}")
    found = np.empty((1 + len(VIEWS), len(images), network.bits), np.float32)
    sizes = {key: network.card[key] for key in ("image_size", "crop_size", "enlarge")}
    weights = network.params, network.stats
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        crops = center_crops(images[rows], **sizes, first=start)
        padded = np.zeros((batch_size, *crops.shape[1:]), crops.dtype)
        padded[: len(crops)] = crops
        made = _program(network.model)(weights, padded)
        found[:, rows] = np.asarray(made)[:, : len(crops)]
    if not np.isfinite(found).all():
        raise NonFiniteError(f"{network}: logits are not finite")
    return found


@functools.lru_cache(maxsize=16)
def _program(model: HashModel) -> Callable[..., jax.Array]:
    """``((params, stats), pixels) -> logits of the images and their views``."""

    def logits(network, pixels):
        if pixels.dtype == jnp.uint8:
            pixels = sharding.to_images(pixels)
        return view_logits(lambda x: model.apply(*network, x)[0], pixels)

    return jax.jit(logits)
