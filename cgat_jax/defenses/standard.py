"""Training without an adversary: the hashing loss, and the backbone's start."""

import jax
import jax.numpy as jnp
import optax

from cgat_jax.defenses.descent import descend
from cgat_jax.types import Batch, HashLoss, HashModel, StepFn, TrainState, masked_mean


def make_standard_step(
    model: HashModel, loss: HashLoss, tx: optax.GradientTransformation
) -> StepFn:
    """Pretraining: one step on the hashing loss of the clean images.

    The bank's rows of the batch are written before the loss looks at the bank.

    References:
        CgAT, WWW 2023, Sec. 3.1 (its deep hashing networks).
    """

    def step(state: TrainState, batch: Batch, key):
        key = jax.random.fold_in(key, state.step)
        dropout_key, loss_key = jax.random.split(key)

        def objective(params):
            logits, stats = model.apply(
                params["model"],
                state.stats,
                batch.images,
                key=dropout_key,
                mask=batch.mask,
            )
            logits = loss.scale(logits, state.step)
            codes = jax.lax.stop_gradient(jnp.tanh(logits))
            bank = state.bank.record(batch, codes)
            value = loss.apply(
                params["loss"], state.constants, logits, batch, bank, loss_key
            )
            return value, (stats, bank, {"loss": value})

        return descend(state, tx, objective)

    return step


def make_classification_step(
    model: HashModel, tx: optax.GradientTransformation
) -> StepFn:
    """A start for networks without pretrained weights: multi-label classification.

    The network has one output a class; binary cross-entropy, averaged over images and
    classes. Pairwise hashing from random weights stays at log 2 and chance; from these
    weights it takes off. The bank is not used.
    """

    def step(state: TrainState, batch: Batch, key):
        key = jax.random.fold_in(key, state.step)

        def objective(params):
            logits, stats = model.apply(
                params["model"], state.stats, batch.images, key=key, mask=batch.mask
            )
            entropy = optax.sigmoid_binary_cross_entropy(logits, batch.labels)
            value = masked_mean(entropy, batch.mask)
            return value, (stats, state.bank, {"loss": value})

        return descend(state, tx, objective)

    return step
