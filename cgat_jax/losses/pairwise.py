"""Pairwise hashing losses: each code against the whole bank."""

import jax
import jax.numpy as jnp

from cgat_jax.types import Bank, Batch, Codes, HashLoss, Scalar, masked_mean, similarity


def make_dpsh(*, eta: float = 0.001) -> HashLoss:
    """Deep pairwise-supervised hashing: the likelihood of the similarities.

    With theta = u U^T / 2 and the similarities S in {0, 1} of batch and bank:

        mean(softplus(theta) - S * theta) + eta * mean((u - sign u)^2).

    Args:
        eta: weight of the quantization term, at least 0, in the mean form.

    References:
        Li et al., Feature Learning based Deep Supervised Hashing with Pairwise
        Labels, IJCAI 2016, Eq. 2 to 5. Means and eta = 0.001 follow the released code
        of CgAT; the DPSH paper sums and takes eta from 10 on.
    """

    def apply(params, constants, codes: Codes, batch: Batch, bank: Bank) -> Scalar:
        theta = codes @ jax.lax.stop_gradient(bank.codes).T / 2
        similar = similarity(batch.labels, bank.labels)
        likelihood = masked_mean(jax.nn.softplus(theta) - similar * theta, batch.mask)
        rounding = masked_mean((codes - jnp.sign(codes)) ** 2, batch.mask)
        return likelihood + eta * rounding

    return HashLoss(init=lambda key: ({}, {}), apply=apply)
