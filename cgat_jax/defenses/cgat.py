"""Center-guided adversarial training, and the same without centers."""

import jax.numpy as jnp
import optax

from cgat_jax.centers import center_codes, weighted_center_codes
from cgat_jax.config import Defense
from cgat_jax.defenses.guided import Guide, make_guided_step
from cgat_jax.types import Attack, HashLoss, HashModel, StepFn


def make_cgat_step(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    settings: Defense,
) -> StepFn:
    """Center-guided adversarial training with any hashing loss.

    An image is moved away from its center code; then the network is trained on

        loss(clean codes) - weight * mean(u_adversarial * center),

    the second center being taken after the batch's clean codes entered the bank.

    Args:
        model: the network.
        loss: the hashing loss on clean images.
        attack: the inner attack, given center codes.
        tx: the optimizer.
        settings: ``bank``: ``soft`` centers are made of relaxed codes, as the released
            code does, ``binary`` of their signs, as the paper writes; ``centers``: how
            much a positive counts. The rest is as in ``guided``.

    References:
        Wang et al., CgAT, WWW 2023, Sec. 3.3, Eq. 8 to 11, and its released code.
    """
    binary, weights = settings.bank == "binary", settings.centers

    def centers(batch, bank, codes):
        if weights == "equal":
            return center_codes(batch.labels, bank, binary=binary)
        return weighted_center_codes(batch.labels, bank, weights=weights, binary=binary)

    guide = Guide(craft=centers, train=centers)
    return make_guided_step(model, loss, attack, tx, settings, guide)


def make_at_self_step(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    settings: Defense,
) -> StepFn:
    """CgAT with the image's own clean code in place of the center code.

    What CgAT gains over it, the center code gives. The bank serves the hashing loss.
    """

    def own(batch, bank, codes):
        return jnp.sign(codes)

    guide = Guide(craft=own, train=own)
    return make_guided_step(model, loss, attack, tx, settings, guide)
