"""Semantic-aware adversarial training, CgAT's successor."""

import jax.numpy as jnp
import optax

from cgat_jax.centers import weighted_center_codes
from cgat_jax.config import Defense
from cgat_jax.defenses.guided import Guide, make_guided_step
from cgat_jax.types import Attack, HashLoss, HashModel, StepFn


def make_saat_step(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    settings: Defense,
) -> StepFn:
    """CgAT with mainstay codes, and a quantization term on adversarial codes.

    Mainstay codes weigh positives by the cosine of the labels. The published weight of
    the quantization term, ``settings.quantization``, is 1e-4. With ``bank="soft"``, as
    in the released code, the code that trains sees the signs of the batch's own codes
    and the relaxed codes of all other images.

    References:
        Yuan et al., Semantic-Aware Adversarial Training for Reliable Deep Hashing
        Retrieval, IEEE TIFS 2023, and its released code.
    """
    binary = settings.bank == "binary"

    def mainstay(batch, bank, codes):
        return weighted_center_codes(
            batch.labels, bank, weights="cosine", binary=binary
        )

    def after_the_signs_entered(batch, bank, codes):
        return mainstay(batch, bank.record(batch, jnp.sign(codes)), codes)

    guide = Guide(craft=mainstay, train=after_the_signs_entered)
    return make_guided_step(model, loss, attack, tx, settings, guide)
