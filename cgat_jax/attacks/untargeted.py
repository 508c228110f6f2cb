"""Attacks away from the own code or from all relevant codes: HAG and SDHA."""

import jax
import jax.numpy as jnp
import optax

from cgat_jax.attacks import objectives
from cgat_jax.attacks.pgd import Budget, projected_descent, relax, start_of
from cgat_jax.types import Attack, Bank

HAG_MOMENTUM = 0.9
SDHA_WEIGHT = 25.0


def _own_codes(encode, images):
    return jax.lax.stop_gradient(jnp.tanh(encode(images, 0)))


def hag(budget: Budget) -> Attack:
    """Hash adversary generation: away from the own code, by SGD on the pixels.

    ``budget.step_size`` is the learning rate, 100 / 32 an image: published code has 100
    for the mean over a batch of 32, here an image does not see its batch. Momentum is
    0.9 and survives the projection. References are not used.

    References:
        Yang et al., Adversarial Examples for Hamming Space Search, IEEE Transactions
        on Cybernetics 2020; SAAT's released code, which reports the codes before the
        last update, while the final images are encoded here.
    """
    tx = optax.sgd(budget.step_size, momentum=HAG_MOMENTUM)

    def attack(encode, images, references, keys):
        own = _own_codes(encode, images)

        def objective(x, iteration):
            codes = relax(encode(x, iteration), iteration, budget)
            return objectives.hag(codes, own)

        start = start_of(images, keys, budget)
        return projected_descent(objective, images, start, budget, tx)

    return attack


def sdha(budget: Budget, bank: Bank) -> Attack:
    """Smart attack: away from the codes of all relevant training images, by Adam.

    Minimizes mean((x' - x)^2) + 25 / K * sdha(codes). ``budget.step_size`` is Adam's
    learning rate, 0.01. The references are the images' true labels.

    Args:
        budget: how far and how hard.
        bank: binary codes and labels of the training images.

    References:
        Lu et al., A Smart Adversarial Attack on Deep Hashing Based Image Retrieval,
        ICMR 2021; SAAT's released code, as in ``hag``.
    """
    tx = optax.adam(budget.step_size)

    def attack(encode, images, references, keys):
        own = _own_codes(encode, images)
        weight = SDHA_WEIGHT / own.shape[1]

        def objective(x, iteration):
            codes = relax(encode(x, iteration), iteration, budget)
            change = ((x - images) ** 2).mean(axis=(1, 2, 3))
            return change + weight * objectives.sdha(codes, own, references, bank)

        start = start_of(images, keys, budget)
        return projected_descent(objective, images, start, budget, tx)

    return attack
