"""Deep supervised discrete hashing."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.losses.pairwise import bank_products, likelihood
from cgat_jax.losses.precise import precise_loss
from cgat_jax.types import Bank, Batch, HashLoss, Logits, masked_mean, similarity

MU, NU, ETA = 1.0, 1.0, 55.0
SWEEPS = 10

BankCodes = Float[Array, "N K"]
BankLabels = Float[Array, "N C"]
Classifier = Float[Array, "K C"]


def fit_classifier(codes: BankCodes, labels: BankLabels) -> Classifier:
    """Ridge regression of labels on codes: (B^T B + nu/mu I)^-1 B^T Y."""
    bits = codes.shape[1]
    gram = codes.T @ codes + NU / MU * jnp.eye(bits, dtype=codes.dtype)
    return jnp.linalg.solve(gram, codes.T @ labels)


def sweep(
    codes: BankCodes, relaxed: BankCodes, labels: BankLabels, classifier: Classifier
) -> BankCodes:
    """One pass of discrete cyclic coordinate descent over the bits of all codes.

    Each bit in turn takes the sign that minimizes, the others fixed,

        mu |Y - B W|^2 + eta |B - U|^2.

    References:
        Shen et al., Supervised Discrete Hashing, CVPR 2015, Eq. 12; Li et al., DSDH,
        NIPS 2017, Eq. 13.
    """
    wanted = labels @ classifier.T + ETA / MU * relaxed
    gram = classifier @ classifier.T

    def set_bit(bit, codes):
        others = codes @ gram[:, bit] - codes[:, bit] * gram[bit, bit]
        return codes.at[:, bit].set(jnp.sign(wanted[:, bit] - others))

    return jax.lax.fori_loop(0, codes.shape[1], set_bit, codes)


def refresh(constants: dict, bank: Bank) -> dict:
    """Ten times W from B, then B from W and the bank's relaxed codes.

    ``constants`` are {"codes": B, "classifier": W}; W is the one before the last sweep,
    as in the released code of CgAT.
    """

    def alternate(_, constants):
        classifier = fit_classifier(constants["codes"], bank.labels)
        codes = sweep(constants["codes"], bank.codes, bank.labels, classifier)
        return {"codes": codes, "classifier": classifier}

    return jax.lax.fori_loop(0, SWEEPS, alternate, constants)


@precise_loss
def make_dsdh(*, quantization: float = 0.0) -> HashLoss:
    """DPSH's likelihood, and how well binary codes B tell the labels.

        mean(softplus(theta) - S * theta) + mu * mean((y - W^T b)^2) + nu * mean(W^2)
        + quantization * mean((b - u)^2),      theta = u U^T / 2, mu = nu = 1.

    The last term leaves out bits of B that are 0, as all are until codes are recorded.
    B and W are refreshed at the start of each epoch and are constants of a step. So,
    with ``quantization`` 0 the gradient is that of DPSH with eta = 0: the released code
    of CgAT lost the term that ties u to b, and the default here is what it computes.

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_dsdh
    >>> from cgat_jax.types import Bank
    >>> bank = Bank(jnp.array([[0.9, -0.8], [-0.7, 0.9]]), labels=jnp.eye(2))
    >>> loss = make_dsdh()
    >>> params, constants = loss.init(jax.random.key(0), bank)
    >>> loss.refresh(constants, bank)["codes"].tolist()
    [[1.0, -1.0], [-1.0, 1.0]]

    Args:
        quantization: weight of the lost term, at least 0.

    References:
        Li et al., Deep Supervised Discrete Hashing, NIPS 2017, Eq. 7. In adversarial
        training B goes on from pretraining; the released code starts from sign(U).
    """

    def init(key, bank: Bank):
        shape = bank.codes.shape[1], bank.labels.shape[1]
        classifier = jnp.zeros(shape, bank.codes.dtype)
        return {}, {"codes": jnp.sign(bank.codes), "classifier": classifier}

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        codes, classifier = jnp.tanh(logits), constants["classifier"]
        similar = similarity(batch.labels, bank.labels)
        pairs = likelihood(bank_products(codes, bank) / 2, similar)
        own = constants["codes"].at[batch.indices].get(mode="fill", fill_value=0)
        error = (batch.labels - own @ classifier) ** 2
        value = masked_mean(pairs, batch.mask) + MU * masked_mean(error, batch.mask)
        value += NU * (classifier**2).mean()
        gap = jnp.where(own == 0, 0.0, own - codes)  # B is empty in the first epoch
        return value + quantization * masked_mean(gap**2, batch.mask)

    return HashLoss(init=init, apply=apply, refresh=refresh)
