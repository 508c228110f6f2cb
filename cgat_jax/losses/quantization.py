"""Terms that pull relaxed codes towards binary ones."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from cgat_jax.losses.precise import precise_loss
from cgat_jax.types import Batch, Codes, HashLoss, Logits, Mask, Scalar, masked_mean

SWDC_WEIGHT = 0.1
_LAST = 2.0  # sorts behind every code


def swdc(codes: Codes, balanced: Codes, mask: Mask) -> Scalar:
    """Wasserstein distance of each bit's values to random signs, bit by bit.

        mean((sort u - sort r)^2), each column sorted by itself.

    It is 0 where each bit is binary and as often +1 as in ``balanced``.

    Args:
        codes: relaxed codes.
        balanced: the signs r to compare with, in {-1, +1}.
        mask: real rows; the others count neither in codes nor in signs.

    References:
        Doan et al., One Loss for Quantization: Deep Hashing with Discrete Wasserstein
        Distributional Matching, CVPR 2022 (HSWD, its per-coordinate form SWDC).
    """
    real = mask.reshape(-1, 1)
    ordered, signs = (
        jnp.sort(jnp.where(real, x, jnp.full_like(x, _LAST)), axis=0)
        for x in (codes, balanced)
    )
    return masked_mean((ordered - signs) ** 2, jnp.arange(len(mask)) < mask.sum())


@precise_loss
def with_swdc(loss: HashLoss) -> HashLoss:
    """A loss plus 0.1 * SWDC to signs drawn anew for each batch (the -C variants).

    An image alone, as the last batch of an epoch may be, has no distribution, and adds
    nothing.

    >>> from cgat_jax.losses import make_csq, with_swdc
    >>> csq_c = with_swdc(make_csq(quantization=0.0))
    >>> csq_c.min_batch  # a batch of one has no distribution
    2
    """

    def apply(params, constants, logits: Logits, batch: Batch, bank, key: PRNGKeyArray):
        value = loss.apply(params, constants, logits, batch, bank, key)
        codes = jnp.tanh(logits)
        signs = jax.random.rademacher(key, codes.shape, codes.dtype)
        distance = swdc(codes, signs, batch.mask)
        return value + SWDC_WEIGHT * jnp.where(batch.mask.sum() > 1, distance, 0.0)

    return loss._replace(apply=apply, min_batch=max(loss.min_batch, 2))
