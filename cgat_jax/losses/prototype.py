"""The loss of prototype networks, on codes made from label sets."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.losses.pairwise import bank_products, likelihood, rounding_error
from cgat_jax.precision import full_precision
from cgat_jax.types import Bank, Codes, Labels, Mask, Scalar, similarity

ROUNDING = 1e-4


def circle_loss(
    cosines: Float[Array, "B N"],
    positive: Float[Array, "B N"],
    considered: Float[Array, "B N"],
) -> Scalar:
    """Log of sums over all pairs at once: positives close, negatives far.

        logsumexp_pos(-(2 - s) s) + logsumexp_neg((2 + s) s),

    s in the weights (2 -+ s) being constants; a group without pairs adds 0.

    Args:
        cosines: s in [-1, 1].
        positive: 1 where a pair should be close, else 0.
        considered: 0 for pairs to leave out.

    References:
        Sun et al., Circle Loss, CVPR 2020, as THA and ATRDH use it (their margin and
        scale are inert).
    """
    weight = jax.lax.stop_gradient(cosines)
    near = _logsumexp(-(2 - weight) * cosines, positive * considered > 0)
    far = _logsumexp((2 + weight) * cosines, (positive == 0) & (considered > 0))
    return near + far


def _logsumexp(values, chosen):
    """Of the chosen entries; 0 where there are none."""
    lowest = jnp.full_like(values, jnp.finfo(values.dtype).min)
    total = jax.nn.logsumexp(jnp.where(chosen, values, lowest))
    return jnp.where(chosen.any(), total, jnp.zeros_like(total))


@full_precision
def prototype_loss(
    codes: Codes, labels: Labels, bank: Bank, mask: Mask, *, triangle: bool
) -> Scalar:
    """Circle loss of prototype codes with a bank of codes, and their rounding.

        circle / B + sum((t - sign t)^2) / (10^4 B).

    Args:
        codes: prototype codes t in (-1, 1) of label sets.
        labels: those label sets, multi-hot.
        bank: binary codes and labels of the training images.
        mask: rows that count.
        triangle: leave out the pairs with j <= i, as the released code of THA does by
            applying a square's triangle to a rectangle.

    References:
        Wang et al., Targeted Attack and Defense for Deep Hashing, SIGIR 2021, Eq. 3
        to 5, and its released code.
    """
    considered = jnp.broadcast_to(
        mask.astype(codes.dtype).reshape(-1, 1), (len(codes), len(bank.codes))
    )
    if triangle:
        considered = jnp.triu(considered, 1)
    cosines = bank_products(codes, bank) / codes.shape[1]
    value = circle_loss(cosines, similarity(labels, bank.labels), considered)
    rounding = rounding_error(codes).sum(axis=1)
    real = mask.astype(codes.dtype)
    return (value + ROUNDING * (rounding * real).sum()) / real.sum()


@full_precision
def classified_prototype_loss(
    codes: Codes, classes: Labels, labels: Labels, bank: Bank
) -> Scalar:
    """The likelihood of similarities with a bank of codes, classes, and rounding.

    With theta = t B^T / 2 and the similarities S in {0, 1} of label sets and bank:

        mean(softplus(theta) - S * theta) + mean((classes - labels)^2)
            + sum((t - sign t)^2) / (10^4 B).

    Args:
        codes: prototype codes t in (-1, 1) of label sets.
        classes: what the network makes of those label sets, in (0, 1).
        labels: those label sets, multi-hot.
        bank: binary codes and labels of the training images.

    References:
        Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of
        Deep Hashing, CVPR 2021; weights of its released code.
    """
    similar = similarity(labels, bank.labels)
    pairs = likelihood(bank_products(codes, bank) / 2, similar).mean()
    classification = ((classes - labels) ** 2).mean()
    return pairs + classification + ROUNDING * rounding_error(codes).sum() / len(codes)
