"""GreedyHash: classify from the binary code, pass the gradient through the sign."""

import jax
import jax.numpy as jnp
import optax

from cgat_jax.losses.precise import precise_loss
from cgat_jax.types import Bank, Batch, HashLoss, Logits, masked_mean

WEIGHT = 0.1


@precise_loss
def make_greedyhash(*, train_classifier: bool = True) -> HashLoss:
    """Cross-entropy of a linear classifier on b = sign(u), and a cubic penalty.

        mean cross-entropy(b V^T, first class) + 0.1 * mean(| |u| - 1 |^3);

    the gradient with respect to b is taken as that with respect to u. The classifier V
    [C, K] starts uniform in +-1 / sqrt(K). Images of several classes count as the first
    of them, images without a class as class 0: it is a loss for single-label data.

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_greedyhash
    >>> from cgat_jax.types import Bank
    >>> bank = Bank(codes=jnp.zeros((2, 4)), labels=jnp.eye(2))
    >>> params, constants = make_greedyhash().init(jax.random.key(0), bank)
    >>> params["classifier"].shape, constants
    ((2, 4), {})

    Args:
        train_classifier: whether the optimizer trains V. The released code of CgAT
            does not give it to the optimizer.

    References:
        Su et al., Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in
        CNN, NeurIPS 2018, Eq. 8 and Algorithm 1.
    """

    def init(key, bank: Bank):
        bits, num_classes = bank.codes.shape[1], bank.labels.shape[1]
        limit, dtype = bits**-0.5, bank.codes.dtype
        classifier = jax.random.uniform(key, (num_classes, bits), dtype, -limit, limit)
        table = {"classifier": classifier}
        return (table, {}) if train_classifier else ({}, table)

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        codes = jnp.tanh(logits)
        binary = codes + jax.lax.stop_gradient(jnp.sign(codes) - codes)
        scores = binary @ (params or constants)["classifier"].T
        classes = batch.labels.argmax(axis=1)
        entropy = optax.softmax_cross_entropy_with_integer_labels(scores, classes)
        rounding = jnp.abs(jnp.abs(codes) - 1) ** 3
        value = masked_mean(entropy, batch.mask)
        return value + WEIGHT * masked_mean(rounding, batch.mask)

    return HashLoss(init=init, apply=apply)
