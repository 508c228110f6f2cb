"""Adversarial training for robust deep hashing: towards prototype codes of labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cgat_jax.attacks.prototypes import prototype_optimizer, train_prototypes
from cgat_jax.config import Defense
from cgat_jax.defenses.descent import descend
from cgat_jax.defenses.guided import Crafted, adversarial_objective, make_encode
from cgat_jax.losses.pairwise import bank_products
from cgat_jax.models.prototype import make_prototype_net
from cgat_jax.precision import full_precision
from cgat_jax.types import (
    Attack,
    Bank,
    Batch,
    Codes,
    HashLoss,
    HashModel,
    Scalar,
    StepFn,
    TrainState,
    masked_mean,
    similarity,
)


def start_atrdh(
    key: jax.Array, state: TrainState, settings: Defense, database_labels: np.ndarray
) -> TrainState:
    """The state that training starts from, with a fresh prototype network.

    The first bank's codes become the binary bank of the prototype network; the hashing
    loss's own bank starts at zero, as in the released code.

    Args:
        key: of the prototype network's weights.
        state: with the bank of the first pass.
        settings: of the defense.
        database_labels: multi-hot [M, C]; targets are drawn from its unique rows.
    """
    targets = jnp.asarray(np.unique(database_labels, axis=0), jnp.float32)
    prototype = make_prototype_net(state.bank.codes.shape[1])
    params = prototype.init(key, targets[:1])
    extra = {
        "prototype": params,
        "opt_state": prototype_optimizer(1).init(params),
        "codes": state.bank.codes,
        "targets": targets,
    }
    bank = state.bank._replace(codes=jnp.zeros_like(state.bank.codes))
    return state._replace(bank=bank, extra=extra)


@full_precision
def reconstruction(robust: Codes, batch: Batch, bank: Bank) -> Scalar:
    """Adversarial codes against the bank: mean((u_adv U^T / K - (2S - 1))^2)."""
    wanted = 2 * similarity(batch.labels, bank.labels) - 1
    cosine = bank_products(robust, bank) / robust.shape[1]
    return masked_mean((cosine - wanted) ** 2, batch.mask)


def make_atrdh_step(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    settings: Defense,
    steps_per_epoch: int,
) -> StepFn:
    """Targeted adversarial images, pulled back to the codes of similar images.

    Label sets drawn from the database's give target codes by way of a prototype
    network, which is trained along; images move towards them, and the network is
    trained on

        loss(clean) + weight * mean((u_adv U^T / K - (2S - 1))^2).

    Args:
        model: the network.
        loss: the hashing loss on clean images.
        attack: the inner attack, given minus the target codes.
        tx: the network's optimizer.
        settings: ``weight`` is 1 as published (2 in SAAT's copy); ``crafting`` as in
            ``make_encode``; ``triangle`` as in ``prototype_loss``.
        steps_per_epoch: for the prototype network's learning rate.

    References:
        Wang et al., Targeted Attack and Defense for Deep Hashing, SIGIR 2021, and its
        released code. Target label sets may overlap the image's, as there.
    """
    total = settings.epochs * steps_per_epoch

    def step(state: TrainState, batch: Batch, key):
        key = jax.random.fold_in(key, state.step)
        attack_key, dropout_key, train_key, loss_key, target_key = jax.random.split(
            key, 5
        )
        prototype = make_prototype_net(state.bank.codes.shape[1])
        size = len(batch.images)
        labels = _drawn(target_key, state.extra["targets"], size)
        goal = jnp.sign(prototype.apply(state.extra["prototype"], labels))
        encode = make_encode(model, loss, state, settings, batch.mask, dropout_key)
        keys = jax.random.split(attack_key, size)
        adversarial = attack(encode, batch.images, -goal, keys)
        objective = adversarial_objective(
            model,
            loss,
            settings,
            state,
            Crafted(batch, adversarial, train_key, loss_key),
            lambda robust, clean, bank: reconstruction(robust, batch, bank),
        )
        state, metrics = descend(state, tx, objective, awp=settings.awp)
        extra, value = _next_prototypes(
            state, batch, labels, prototype, total, settings.triangle
        )
        return state._replace(extra=extra), metrics | {"loss/prototype": value}

    return step


def _drawn(key, targets, count: int):
    """Label sets of the database, with replacement."""
    return targets[jax.random.randint(key, (count,), 0, len(targets))]


def _next_prototypes(state: TrainState, batch, labels, prototype, total, triangle):
    """One step of the prototype network on the codes with the batch's own."""
    extra = state.extra
    own = jnp.sign(state.bank.codes.at[batch.indices].get(mode="clip"))
    binary = Bank(extra["codes"], state.bank.labels).record(batch, own)
    params, opt_state, value = train_prototypes(
        prototype,
        prototype_optimizer(total),
        (extra["prototype"], extra["opt_state"]),
        labels,
        binary,
        batch.mask,
        triangle=triangle,
    )
    trained = {"prototype": params, "opt_state": opt_state, "codes": binary.codes}
    return extra | trained, value
