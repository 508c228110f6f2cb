"""Small, fixed changes of an image that hardly change what it shows.

They are differentiable, and the same for all images of a size: an attacker who knows
the alarm can go through all of them.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgat_jax.rng import host_stream
from cgat_jax.types import Images, Logits

MOVED = ("flip", "down", "up", "right", "left")
"""Views that move pixels: the mirror image, and shifts by one pixel."""
FILTERED = ("blur", "noise", "opposite noise")
"""Views that change pixels where they are."""
VIEWS = (*MOVED, *FILTERED)
NOISE = 4 / 255


def view_images(images: Images) -> Float[Array, "V B H W 3"]:
    """The images, and then each of their ``VIEWS``.

    Shifts repeat the edge; the blur is by [1, 2, 1] / 4 along both sides; the noise is
    +-4/255, signs drawn once for a size, and the opposite noise its negative. Pixels
    stay in [0, 1].

    Args:
        images: float32 in [0, 1].
    """
    height, width = images.shape[1:3]
    wide = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")

    def shifted(down: int, right: int) -> Images:
        rows, columns = slice(1 - down, 1 - down + height), 1 - right
        return wide[:, rows, columns : columns + width]

    blurred = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    blurred = (blurred[:, :, :-2] + 2 * blurred[:, :, 1:-1] + blurred[:, :, 2:]) / 4
    noise = jnp.asarray(_signs(images.shape[1:]), images.dtype)[None] * NOISE
    moved = [images[:, :, ::-1]]
    moved += [shifted(*way) for way in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    noisy = [jnp.clip(images + way * noise, 0, 1) for way in (1, -1)]
    return jnp.stack([images, *moved, blurred, *noisy])


def view_logits(
    encode: Callable[[Images], Logits], images: Images
) -> Float[Array, "V B K"]:
    """Logits of the images and of their views, in one pass of the network."""
    views = view_images(images)
    logits = encode(views.reshape(-1, *images.shape[1:]))
    return logits.reshape(*views.shape[:2], -1)


def _signs(size: tuple[int, ...]) -> np.ndarray:
    return np.where(host_stream(0, "alarm").random(size) < 0.5, -1.0, 1.0)
