"""Which network a function is, told by what it does: its outputs and its gradients."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cgat_jax.attacks.inputs import LogitsFn
from cgat_jax.errors import is_out_of_memory
from cgat_jax.types import Images

_LOOKED_AT, _DIRECTIONS = 8, 64
# Of the outputs: a change of 0.4 %, as by rounding to 8 bits, turns 13 of them, and one
# of 1e-6, as by another order of sums, one in three hundred times.
_SIGNS = 10_000


def behavior_digest(encode: LogitsFn, images: Images) -> str:
    """A digest of a function by its outputs and gradients at images and at noise.

    Both are looked at in random directions, by their sign and by whether they exceed a
    random number alone: another machine sums in another order, an accelerator at each
    call, and the last bits of a number differ.

    Two that agree on images of 256 levels may differ between the levels, as one that
    rounds its input does, or in their gradients alone, as one with a straight-through
    gradient does: attacks find other images of them.

    Args:
        encode: images to logits.
        images: float32 [n, S, S, 3] in [0, 1]; the gradient is looked at on the first.

    Raises:
        Exception: what the function raises, but not of a gradient that it lacks.
    """
    rng = np.random.default_rng(0)
    noise = rng.random(images.shape, np.float32)
    whole = hashlib.sha256()
    for inputs in (images, jnp.asarray(noise)):
        logits = np.asarray(encode(inputs), np.float64)
        across = rng.normal(size=(-(-_SIGNS // len(logits)), logits.shape[1]))
        whole.update(_coarse(logits @ across.T, rng))
        slopes = _slopes(encode, inputs[:_LOOKED_AT])
        directions = rng.normal(size=(_DIRECTIONS, inputs[0].size))
        whole.update(b"" if slopes is None else _coarse(slopes @ directions.T, rng))
    return whole.hexdigest()


def _coarse(numbers: Float[np.ndarray, "n d"], rng: np.random.Generator) -> bytes:
    """What the last bits of numbers do not change, but their scale does."""
    sizes = 10 ** rng.uniform(-6, 6, numbers.shape)
    seen = numbers > 0, numbers < 0, abs(numbers) > sizes
    return str(numbers.shape).encode() + np.packbits(np.stack(seen)).tobytes()


def _slopes(encode: LogitsFn, images: Images) -> Float[np.ndarray, "n pixels"] | None:
    """The gradient in the images' pixels; None where there is no gradient."""

    def total(inputs):
        logits = encode(inputs).astype(jnp.float32)
        weights = np.random.default_rng(1).normal(size=logits.shape)
        return (logits * jnp.asarray(weights, jnp.float32)).sum()

    try:
        gradient = jax.grad(total)(images)
    except Exception as error:  # whatever one that has none raises: it is for Square
        if is_out_of_memory(error):
            raise
        return None
    return np.asarray(gradient, np.float64).reshape(len(images), -1)
