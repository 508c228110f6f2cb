"""Adversarial training for robust deep hashing: towards prototype codes of labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cgat_jax.config import Defense
from cgat_jax.defenses.descent import descend
from cgat_jax.defenses.guided import encode_pairs, make_encode
from cgat_jax.losses.pairwise import bank_products
from cgat_jax.losses.prototype import prototype_loss
from cgat_jax.models.prototype import make_prototype_net
from cgat_jax.optimizer import make_schedule
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

LEARNING_RATE, BETA = 1e-4, 0.5


def _prototype_optimizer(settings: Defense, steps_per_epoch: int):
    """Adam, its rate falling to a tenth at a half and at three quarters."""
    own = {"learning_rate": LEARNING_RATE, "schedule": "half_and_three_quarters"}
    schedule = make_schedule(dataclasses.replace(settings, **own), steps_per_epoch)
    return optax.adam(schedule, b1=BETA)


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
        "opt_state": _prototype_optimizer(settings, 1).init(params),
        "codes": state.bank.codes,
        "targets": targets,
    }
    bank = state.bank._replace(codes=jnp.zeros_like(state.bank.codes))
    return state._replace(bank=bank, extra=extra)


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
            ``make_guided_step``; ``triangle`` as in ``prototype_loss``.
        steps_per_epoch: for the prototype network's learning rate.

    References:
        Wang et al., Targeted Attack and Defense for Deep Hashing, SIGIR 2021, and its
        released code. Target label sets may overlap the image's, as there.
    """

    def step(state: TrainState, batch: Batch, key):
        key = jax.random.fold_in(key, state.step)
        attack_key, dropout_key, train_key, loss_key = jax.random.split(key, 4)
        extra = state.extra
        target_key = jax.random.fold_in(attack_key, 0)
        size, count = len(batch.images), len(extra["targets"])
        labels = extra["targets"][jax.random.randint(target_key, (size,), 0, count)]
        prototype = make_prototype_net(state.bank.codes.shape[1])
        goal = jnp.sign(prototype.apply(extra["prototype"], labels))
        encode = make_encode(model, loss, state, settings, dropout_key)
        keys = jax.random.split(attack_key, size)
        adversarial = attack(encode, batch.images, -goal, keys)

        def objective(params):
            robust, logits, stats = encode_pairs(
                model, loss, params, state, adversarial, batch.images, train_key
            )
            robust, clean = jnp.tanh(robust), jnp.tanh(logits)
            bank = state.bank.record(batch, jax.lax.stop_gradient(clean))
            clean_loss = loss.apply(
                params["loss"], state.constants, logits, batch, bank, loss_key
            )
            robust_loss = reconstruction(robust, batch, bank)
            value = clean_loss + settings.weight * robust_loss
            parts = {"loss/clean": clean_loss, "loss/robust": robust_loss}
            return value, (stats, bank, {"loss": value} | parts)

        state, metrics = descend(state, tx, objective, awp=settings.awp)
        return _train_prototypes(state, metrics, batch, labels, prototype)

    def _train_prototypes(state, metrics, batch, labels, prototype):
        """One step of the prototype network on the codes with the batch's own."""
        extra = state.extra
        own = jnp.sign(state.bank.codes.at[batch.indices].get(mode="clip"))
        binary = Bank(extra["codes"], state.bank.labels).record(batch, own)

        def objective(params):
            codes = prototype.apply(params, labels)
            return prototype_loss(
                codes, labels, binary, batch.mask, triangle=settings.triangle
            )

        value, gradients = jax.value_and_grad(objective)(extra["prototype"])
        tx = _prototype_optimizer(settings, steps_per_epoch)
        updates, opt_state = tx.update(gradients, extra["opt_state"])
        trained = {
            "prototype": optax.apply_updates(extra["prototype"], updates),
            "opt_state": opt_state,
            "codes": binary.codes,
        }
        state = state._replace(extra=extra | trained)
        return state, metrics | {"loss/prototype": value}

    return step
