"""Reference codes: what an attack moves away from, or towards."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.centers.exact import integer_sums, sign_of_difference
from cgat_jax.errors import lookup
from cgat_jax.precision import full_precision
from cgat_jax.types import Bank, Codes, Labels, similarity

_SMALL = 1e-8


@full_precision
def center_codes(labels: Labels, bank: Bank, *, binary: bool = False) -> Codes:
    """Center code of each query: near its positives, far from its negatives.

    A bank item is positive if it shares a label with the query. The center code
    minimizes the mean Hamming distance to the positives minus that to the negatives
    (CHCM); it is separable over bits, so that

        c = sign(mean of positives - mean of negatives)
          = sign(N * (sum of positives) - n * (sum of all)),   n = number of positives.

    >>> import jax.numpy as jnp
    >>> from cgat_jax.centers import center_codes
    >>> from cgat_jax.types import Bank
    >>> codes = jnp.array([[0.9, 0.8, -0.1], [0.7, -0.6, 0.2], [-0.8, 0.5, 0.9]])
    >>> bank = Bank(codes, labels=jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    >>> center_codes(jnp.array([[1.0, 0.0]]), bank).tolist()
    [[1.0, -1.0, -1.0]]

    Args:
        labels: multi-hot labels of the queries.
        bank: relaxed codes and labels of the training images.
        binary: take the signs of the bank's codes, as the paper writes it, in integer
            arithmetic that is exact for any size of the bank, ties included.
            Otherwise the codes count as they are, as the released code does: its
            binary bank is one storage with the relaxed one.

    Returns:
        Codes in {-1, 0, +1}, without gradient. A bit that ties is 0, and so is the
        whole code of a query without positives; without negatives it is the sign of
        the positives' sum.

    References:
        Wang et al., CgAT, WWW 2023, Sec. 3, Eq. 4 and 5. Positives count equally, as
        in the official code, which discards its similarity weights.
    """
    positive = similarity(labels, bank.labels)
    center = _hard_center if binary else _soft_center
    margin = center(positive, bank.codes)
    return jax.lax.stop_gradient(margin.astype(bank.codes.dtype))


def _soft_center(positive: Float[Array, "B N"], codes: Float[Array, "N K"]) -> Codes:
    """The center code of relaxed codes, in floating point."""
    size, count = len(codes), positive.sum(axis=1, keepdims=True)
    near, total = positive @ codes, codes.sum(axis=0, keepdims=True)
    mine, theirs = size * near, count * total
    # Compilers may round a product and its difference at once, where a tie is none.
    margin = jnp.where(mine == theirs, 0, mine - theirs)
    return jnp.sign(jnp.where(count == size, near, margin))


def _hard_center(positive: Float[Array, "B N"], codes: Float[Array, "N K"]):
    """The center code of the codes' signs, in integers."""
    size, signs = len(codes), jnp.sign(codes)
    everyone = jnp.ones((1, size), codes.dtype)
    near, total = integer_sums(positive, signs), integer_sums(everyone, signs)
    count = integer_sums(positive, everyone.T)
    sizes = jnp.full((1, 1), size, jnp.int32)
    margin = sign_of_difference(sizes, near, count, total)
    return jnp.where(count == size, jnp.sign(near), margin)


def _jaccard(shared, count, other_count):
    return shared / jnp.maximum(count + other_count.T - shared, 1)


def _cosine(shared, count, other_count):
    return shared / (jnp.sqrt(count) * jnp.sqrt(other_count).T + _SMALL)


LABEL_WEIGHTS = {"jaccard": _jaccard, "cosine": _cosine}


@full_precision
def weighted_center_codes(
    labels: Labels, bank: Bank, *, weights: str, binary: bool = False
) -> Codes:
    """Center codes to which a positive counts the more, the more labels it shares.

        c = sign(sum_pos w_j b_j / sum_pos w_j - mean of negatives),

    a group without members being left out: without positives the code is minus the
    negatives' mean. No gradient flows. A tie is 0 only as far as floating point tells:
    weights are no integers, and a tie may come out as either sign.

    >>> import jax.numpy as jnp
    >>> from cgat_jax.centers import weighted_center_codes
    >>> from cgat_jax.types import Bank
    >>> labels = jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> bank = Bank(jnp.array([[0.5, -0.5], [-0.8, 0.6], [-0.9, -0.1]]), labels)
    >>> weighted_center_codes(labels[:1], bank, weights="jaccard").tolist()
    [[1.0, -1.0]]

    Args:
        labels: multi-hot labels of the queries.
        bank: relaxed codes and labels of the training images.
        weights: of label sets y and Y: ``jaccard`` ``|y and Y| / |y or Y|``; ``cosine``
            ``y.Y / (|y| |Y|)``, which makes the *mainstay codes* of SAAT.
        binary: take the signs of the bank's codes.

    References:
        Yuan et al., Semantic-Aware Adversarial Training for Reliable Deep Hashing
        Retrieval (SAAT), IEEE TIFS 2023 (cosine); CgAT, WWW 2023, Eq. 5 (jaccard,
        which its released code computes and discards).
    """
    codes = jnp.sign(bank.codes) if binary else bank.codes
    shared = labels @ bank.labels.T
    counts = (x.sum(axis=1, keepdims=True) for x in (labels, bank.labels))
    near = _mean(lookup("weights", weights, LABEL_WEIGHTS)(shared, *counts), codes)
    far = _mean((shared == 0).astype(codes.dtype), codes)
    return jax.lax.stop_gradient(jnp.sign(near - far))


def _mean(weights: Float[Array, "B N"], codes: Float[Array, "N K"]) -> Codes:
    """Weighted mean of codes; 0 where no weight is."""
    total = weights.sum(axis=1, keepdims=True)
    return weights @ codes / jnp.where(total > 0, total, 1)
