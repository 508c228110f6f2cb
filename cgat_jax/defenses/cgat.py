"""Center-guided adversarial training."""

import jax
import jax.numpy as jnp
import optax

from cgat_jax.centers import center_codes
from cgat_jax.defenses.descent import descend
from cgat_jax.types import (
    Attack,
    Batch,
    HashLoss,
    HashModel,
    StepFn,
    TrainState,
    masked_mean,
)


def make_cgat_step(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    *,
    weight: float = 1.0,
    bank: str = "soft",
    crafting: str = "train",
) -> StepFn:
    """Center-guided adversarial training with any hashing loss.

    An image is moved away from its center code; then the network is trained on

        loss(clean codes) - weight * mean(u_adversarial * center),

    the second center being taken after the batch's clean codes entered the bank.

    Args:
        model: the network; without batch statistics, clean and adversarial images pass
            it as one batch.
        loss: the hashing loss on clean codes.
        attack: the inner attack, given center codes.
        tx: the optimizer.
        weight: lambda, at least 0.
        bank: ``soft`` centers are made of relaxed codes, as the released code does;
            ``binary`` of their signs, as the paper writes.
        crafting: ``train`` crafts through live dropout with a new mask for each
            iteration, as the released code does; ``eval`` without dropout.

    References:
        Wang et al., CgAT, WWW 2023, Sec. 3.3, Eq. 8 to 11, and its released code.
    """

    def step(state: TrainState, batch: Batch, key):
        key = jax.random.fold_in(key, state.step)
        attack_key, dropout_key, train_key = jax.random.split(key, 3)
        centers = center_codes(batch.labels, state.bank, binary=bank == "binary")

        def encode(images, iteration):
            mask_key = jax.random.fold_in(dropout_key, iteration)
            mode = {"key": mask_key} if crafting == "train" else {}
            net = state.params["model"]
            return model.apply(net, state.stats, images, **mode)[0]

        keys = jax.random.split(attack_key, len(batch.images))
        adversarial = attack(encode, batch.images, centers, keys)

        def objective(params):
            robust, clean, stats = _both(
                model,
                params["model"],
                state.stats,
                adversarial,
                batch.images,
                train_key,
            )
            new_bank = state.bank.record(batch, jax.lax.stop_gradient(clean))
            clean_loss = loss.apply(
                params["loss"], state.constants, clean, batch, new_bank
            )
            targets = center_codes(batch.labels, new_bank, binary=bank == "binary")
            robust_loss = -masked_mean(robust * targets, batch.mask)
            value = clean_loss + weight * robust_loss
            parts = {
                "loss": value,
                "loss/clean": clean_loss,
                "loss/robust": robust_loss,
            }
            return value, (stats, new_bank, parts)

        return descend(state, tx, objective)

    return step


def _both(model, params, stats, adversarial, clean, key):
    """Relaxed codes of adversarial and clean images, and the new statistics.

    Batch statistics see the two batches one after the other, adversarial first.
    """
    if not jax.tree.leaves(stats):  # pairs side by side: no row changes its device
        pairs = jnp.stack([adversarial, clean], axis=1)
        logits, stats = model.apply(
            params, stats, pairs.reshape(-1, *clean.shape[1:]), key=key
        )
        pairs = logits.reshape(len(clean), 2, -1)
        robust, standard = pairs[:, 0], pairs[:, 1]
    else:
        robust_key, clean_key = jax.random.split(key)
        robust, stats = model.apply(params, stats, adversarial, key=robust_key)
        standard, stats = model.apply(params, stats, clean, key=clean_key)
    return jnp.tanh(robust), jnp.tanh(standard), stats
