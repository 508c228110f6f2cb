"""Pairwise hashing losses: each code against the whole bank."""

import jax
import jax.numpy as jnp

from cgat_jax.errors import lookup
from cgat_jax.losses.precise import precise_loss
from cgat_jax.precision import full_precision
from cgat_jax.types import (
    Bank,
    Batch,
    Codes,
    HashLoss,
    Logits,
    Scalar,
    masked_mean,
    similarity,
)

HASHNET_SCALE = 0.1


def likelihood(inner, similar):
    """-log of the Bernoulli likelihood of similarities, logits being ``inner``."""
    return jax.nn.softplus(inner) - similar * inner


def rounding_error(codes: Codes):
    """(u - sign u)^2, the sign being a constant."""
    return (codes - jax.lax.stop_gradient(jnp.sign(codes))) ** 2


@full_precision
def bank_products(codes: Codes, bank: Bank):
    """Products u . u_j with each code of the bank, [B, N]."""
    return codes @ jax.lax.stop_gradient(bank.codes).T


@precise_loss
def make_dpsh(*, eta: float = 0.001, eta_form: str = "mean") -> HashLoss:
    """Deep pairwise-supervised hashing: the likelihood of the similarities.

    With theta = u U^T / 2 and the similarities S in {0, 1} of batch and bank:

        mean(softplus(theta) - S * theta) + eta * mean((u - sign u)^2).

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_dpsh
    >>> from cgat_jax.types import Bank, Batch
    >>> labels, indices, mask = jnp.eye(2), jnp.arange(2), jnp.array([True, True])
    >>> batch = Batch(jnp.zeros((2, 4, 4, 3)), labels, indices, mask)
    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # far apart, as their labels
    >>> loss, key, bank = make_dpsh(), jax.random.key(0), Bank(codes, labels)
    >>> logits = 9 * codes, -9 * codes
    >>> values = [loss.apply({}, {}, z, batch, bank, key) for z in logits]
    >>> [round(float(value), 3) for value in values]
    [0.313, 1.313]

    Args:
        eta: weight of the quantization term, at least 0.
        eta_form: ``mean`` as above; ``sum``: eta * sum((u - sign u)^2) / (N * B), in
            which older code takes eta = 50.

    References:
        Li et al., Feature Learning based Deep Supervised Hashing with Pairwise
        Labels, IJCAI 2016, Eq. 2 to 5. Means and eta = 0.001 follow the released code
        of CgAT; the DPSH paper sums and takes eta from 10 on.
    """
    summed = lookup("eta_form", eta_form, {"mean": False, "sum": True})

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        codes = jnp.tanh(logits)
        similar = similarity(batch.labels, bank.labels)
        pairs = likelihood(bank_products(codes, bank) / 2, similar)
        size = codes.shape[1] / len(bank.codes) if summed else 1.0
        rounding = masked_mean(rounding_error(codes), batch.mask)
        return masked_mean(pairs, batch.mask) + eta * size * rounding

    return HashLoss(init=lambda key, bank: ({}, {}), apply=apply)


@precise_loss
def make_dph() -> HashLoss:
    """Deep pairwise hashing: mean((u U^T / K - (2S - 1))^2) over batch and bank.

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_dph
    >>> from cgat_jax.types import Bank, Batch
    >>> labels, indices, mask = jnp.eye(2), jnp.arange(2), jnp.array([True, True])
    >>> batch = Batch(jnp.zeros((2, 4, 4, 3)), labels, indices, mask)
    >>> codes = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # far apart, as their labels
    >>> loss, key, bank = make_dph(), jax.random.key(0), Bank(codes, labels)
    >>> logits = 9 * codes, -9 * codes
    >>> values = [loss.apply({}, {}, z, batch, bank, key) for z in logits]
    >>> [round(float(value), 3) for value in values]
    [0.0, 4.0]

    References:
        The released code of CgAT, and of THA and SAAT, whose default it is.
    """

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        codes = jnp.tanh(logits)
        wanted = 2 * similarity(batch.labels, bank.labels) - 1
        cosine = bank_products(codes, bank) / codes.shape[1]
        return masked_mean((cosine - wanted) ** 2, batch.mask)

    return HashLoss(init=lambda key, bank: ({}, {}), apply=apply)


@precise_loss
def make_hashnet(*, continuation: bool = False, unseen: str = "labels") -> HashLoss:
    """HashNet: the likelihood of DPSH, similar and dissimilar pairs weighing the same.

    With theta = 0.1 u U^T and l = softplus(theta) - S * theta:

        mean of l over similar pairs + mean of l over dissimilar pairs;

    a class of pairs that does not occur adds 0.

    >>> import jax.numpy as jnp
    >>> from cgat_jax.losses import make_hashnet
    >>> scale = make_hashnet(continuation=True).tanh_scale
    >>> [round(float(scale(jnp.array(step))), 3) for step in (0, 199, 200, 600)]
    [1.0, 1.0, 1.414, 2.0]

    Args:
        continuation: codes are tanh(s * z) with s = sqrt(1 + 0.005 t), t the step of
            the stage rounded down to a multiple of 200, as HashNet's own code has it.
            The released code of CgAT keeps s = 1.
        unseen: what a pair is whose image of the bank has not been seen yet, its code
            there being all zero, as most are in the first epoch of pretraining:
            ``labels``, what the labels say; ``dissimilar``, as in the released code of
            CgAT, whose bank of labels starts at zero as well. The first gradients
            differ by far.

    References:
        Cao et al., HashNet: Deep Learning to Hash by Continuation, ICCV 2017, Eq. 4.
    """
    seen_alone = lookup("unseen", unseen, {"labels": False, "dissimilar": True})

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        similar = similarity(batch.labels, bank.labels)
        if seen_alone:
            seen = (bank.codes != 0).any(axis=1)
            similar = similar * seen.astype(similar.dtype)[None]
        inner = HASHNET_SCALE * bank_products(jnp.tanh(logits), bank)
        pairs, real = likelihood(inner, similar), batch.mask.astype(inner.dtype)

        def mean_over(chosen) -> Scalar:
            weights = chosen * real.reshape(-1, 1)
            return (pairs * weights).sum() / jnp.maximum(weights.sum(), 1)

        return mean_over(similar) + mean_over(1 - similar)

    def tanh_scale(step):
        return jnp.sqrt(1 + 0.005 * (step // 200 * 200).astype(jnp.float32))

    return HashLoss(
        init=lambda key, bank: ({}, {}),
        apply=apply,
        tanh_scale=tanh_scale if continuation else None,
    )
