"""A network with random weights, and colors that it tells apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cgat_jax import Network
from cgat_jax.models.network_file import make_network, new_card


@functools.cache
def network(bits=16, seed=0):
    card = new_card(backbone="small", bits=bits, image_size=36, crop_size=32)
    init = jax.jit(make_network(card).init)
    return Network(*init(jax.random.key(seed), jnp.zeros((1, 32, 32, 3))), card)


def photos(count, seed=0):
    """Blocks of colors, each of another size of image."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)
    return [
        np.kron(b, np.ones((10 + i % 3, 10, 1), np.uint8)) for i, b in enumerate(blocks)
    ]
