"""Deep Cauchy hashing."""

import jax.numpy as jnp

from cgat_jax.errors import InputError
from cgat_jax.losses.precise import precise_loss
from cgat_jax.types import Bank, Batch, HashLoss, Logits, masked_mean, similarity

GAMMA, WEIGHT = 20.0, 0.1
MAX_COSINE, MIN_NORMS = 0.99, 1e-4


def cauchy_distance(codes, others):
    """K/2 (1 - min(cos, 0.99)) of all pairs of rows; no gradient beyond cos = 0.99.

    Codes of zeros are orthogonal to everything; their gradient is large, but finite.
    """
    products = codes @ others.T
    squares = (codes**2).sum(axis=1, keepdims=True) * (others**2).sum(axis=1)[None]
    large = squares > MIN_NORMS**2
    norms = jnp.where(large, jnp.sqrt(jnp.where(large, squares, 1.0)), MIN_NORMS)
    return codes.shape[1] / 2 * (1 - jnp.minimum(products / norms, MAX_COSINE))


@precise_loss
def make_dch() -> HashLoss:
    """Cauchy cross-entropy of the pairs within a batch, and Cauchy quantization.

    With d the distance of two codes, K/2 (1 - cos), and weights w that give similar and
    dissimilar pairs the same sum (1 where one of them does not occur):

        mean_ij(w (S log(d / gamma) + log(1 + gamma / d)))
        + 0.1 mean_i log(1 + d(|u_i|, 1) / gamma),      gamma = 20.

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_dch
    >>> from cgat_jax.types import Bank, Batch
    >>> labels, indices, mask = jnp.eye(2), jnp.arange(2), jnp.array([True, True])
    >>> batch = Batch(jnp.zeros((2, 4, 4, 3)), labels, indices, mask)
    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # far apart, as their labels
    >>> loss, key, bank = make_dch(), jax.random.key(0), Bank(codes, labels)
    >>> logits = 9 * codes, 9 * abs(codes)
    >>> values = [loss.apply({}, {}, z, batch, bank, key) for z in logits]
    >>> [round(float(value), 3) for value in values]
    [2.398, 7.602]

    Codes of one bit are refused by ``init`` with an ``InputError``: their cosines are
    1 or -1, and have no gradient.

    References:
        Cao et al., Deep Cauchy Hashing for Hamming Space Retrieval, CVPR 2018, Eq. 7
        and 8. Cosines stop at 0.99 and their denominators at 1e-4, and an image is a
        pair with itself, as in the released code of CgAT.
    """

    def init(key, bank: Bank):
        if (bits := bank.codes.shape[1]) < 2:
            raise InputError(f"dch needs model.bits to be 2 or more, got {bits}")
        return {}, {}

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        codes = jnp.tanh(logits)
        real = batch.mask.astype(codes.dtype)
        pairs = real[:, None] * real[None]
        similar = similarity(batch.labels, batch.labels) * pairs
        unlike, count = pairs - similar, pairs.sum()
        sums = similar.sum(), unlike.sum()
        both = (sums[0] > 0) & (sums[1] > 0)
        weights = similar * count / jnp.maximum(sums[0], 1)
        weights += unlike * count / jnp.maximum(sums[1], 1)
        weights = jnp.where(both, weights, pairs)

        distance = cauchy_distance(codes, codes)
        entropy = similar * jnp.log(distance / GAMMA) + jnp.log1p(GAMMA / distance)
        ones = jnp.ones((1, codes.shape[1]), codes.dtype)
        rounding = jnp.log1p(cauchy_distance(jnp.abs(codes), ones) / GAMMA)
        value = (weights * entropy).sum() / count
        return value + WEIGHT * masked_mean(rounding, batch.mask)

    return HashLoss(init=init, apply=apply, min_batch=2)
