"""Central similarity quantization: a fixed hash center for each class."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import hadamard

from cgat_jax.errors import lookup
from cgat_jax.losses.precise import precise_loss
from cgat_jax.types import Bank, Batch, HashLoss, Logits, masked_mean

WEIGHT = 1e-4
DRAWS = 20
BLOCK_ROWS = 256  # compared at once with all, so that memory grows with their number


def hash_centers(num_classes: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Codes in {-1, +1}, [num_classes, bits], far from each other.

    The rows of a Hadamard matrix and their opposites: two of them differ in K/2 or K
    bits. Classes beyond 2K get random codes with as many ones as minus ones, drawn
    until all are more than K/4 apart, and K/2 on average; the 20th draw stays.

    Raises:
        ValueError: the code length is not a power of two, from 2 on.

    References:
        Yuan et al., Central Similarity Quantization for Efficient Image and Video
        Retrieval, CVPR 2020, Sec. 3.2 and Algorithm 1.
    """
    if bits < 2 or bits & (bits - 1):
        raise ValueError(
            f"csq needs model.bits to be a power of two from 2 on, got {bits}"
        )
    rows = hadamard(bits, dtype=float)
    centers = np.concatenate([rows, -rows])[:num_classes]
    for _ in range(DRAWS if num_classes > 2 * bits else 0):
        half = np.repeat([1.0, -1.0], bits // 2)
        drawn = [rng.permutation(half) for _ in range(num_classes - 2 * bits)]
        whole = np.concatenate([centers[: 2 * bits], drawn])
        if _are_far_apart(whole):
            break
    return whole if num_classes > 2 * bits else centers


def _are_far_apart(codes: np.ndarray) -> bool:
    """Whether all are more than K/4 apart, and K/2 on average; all sums are exact."""
    (num_codes, bits), total = codes.shape, 0.0
    for start in range(0, num_codes, BLOCK_ROWS):
        rows = codes[start : start + BLOCK_ROWS]
        products = rows @ codes[start:].T
        products = products[np.triu(np.ones(products.shape, bool), 1)]
        if products.max(initial=-bits) >= bits / 2:
            return False
        total += products.sum()
    return bool(total <= 0)


@precise_loss
def make_csq(*, rule: str = "multi", quantization: float = WEIGHT) -> HashLoss:
    """Binary cross-entropy of each code to the hash center of its labels.

        mean BCE((u + 1) / 2, (h + 1) / 2) + quantization * mean((|u| - 1)^2).

    The center h of several classes is the sign of the sum of theirs, and where that is
    0 (or there is no class) one random code, the same for all. Centers and that code
    are constants, kept in the checkpoint from pretraining on.

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_csq
    >>> from cgat_jax.types import Bank
    >>> bank = Bank(codes=jnp.zeros((2, 4)), labels=jnp.eye(2))
    >>> params, constants = make_csq().init(jax.random.key(0), bank)
    >>> constants["centers"].tolist()
    [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0]]

    Args:
        rule: ``multi`` as above; ``single``: the center of the first class (of class 0
            where there is none).
        quantization: weight of the second term; CSQ-C has 0.

    References:
        Yuan et al., CSQ, CVPR 2020, Eq. 2 to 4. (u + 1) / 2 is the logistic function
        of 2z, so the cross-entropy is taken from logits. The released code of CgAT
        draws random centers and ties anew for adversarial training; see
        ``Loss.redraw``.
    """
    first_alone = lookup("rule", rule, {"multi": False, "single": True})

    def init(key, bank: Bank):
        seed = jax.random.randint(key, (4,), 0, np.iinfo(np.int32).max, jnp.int32)
        rng = np.random.default_rng(np.asarray(seed))
        bits, num_classes = bank.codes.shape[1], bank.labels.shape[1]
        centers = hash_centers(num_classes, bits, rng)
        constants = {"centers": centers, "ties": rng.choice([-1.0, 1.0], bits)}
        return {}, jax.tree.map(lambda x: jnp.asarray(x, bank.codes.dtype), constants)

    def targets(constants, labels):
        centers = constants["centers"]
        if first_alone:
            return centers[labels.argmax(axis=1)]
        total = labels @ centers
        return jnp.where(total == 0, constants["ties"][None], jnp.sign(total))

    def apply(params, constants, logits: Logits, batch: Batch, bank: Bank, key):
        wanted = (targets(constants, batch.labels) + 1) / 2
        entropy = optax.sigmoid_binary_cross_entropy(2 * logits, wanted)
        rounding = (jnp.abs(jnp.tanh(logits)) - 1) ** 2
        value = masked_mean(entropy, batch.mask)
        return value + quantization * masked_mean(rounding, batch.mask)

    return HashLoss(init=init, apply=apply)
