"""Adversarial training towards a code: what CgAT, SAAT and AT-self share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from cgat_jax.config import Defense
from cgat_jax.defenses.descent import descend
from cgat_jax.losses.pairwise import rounding_error
from cgat_jax.types import (
    Attack,
    Bank,
    Batch,
    Codes,
    Encode,
    HashLoss,
    HashModel,
    Images,
    Scalar,
    StepFn,
    TrainState,
    masked_mean,
)


class Guide(NamedTuple):
    """The codes that an image is moved away from, and then pulled to.

    Both are ``(batch, bank, codes) -> codes``, ``codes`` being the relaxed codes of the
    clean images. ``craft`` is given the bank as the step finds it, ``train`` the bank
    with the batch's clean codes in it.
    """

    craft: Callable[[Batch, Bank, Codes], Codes]
    train: Callable[[Batch, Bank, Codes], Codes]


def make_guided_step(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    settings: Defense,
    guide: Guide,
) -> StepFn:
    """Adversarial training towards codes.

    Images are moved away from their code; then the network is trained on the objective
    of ``adversarial_objective`` with minus mean(u_adversarial * code) as its robust
    loss.
    """

    def step(state: TrainState, batch: Batch, key):
        key = jax.random.fold_in(key, state.step)
        attack_key, dropout_key, train_key, loss_key = jax.random.split(key, 4)
        encode = make_encode(model, loss, state, settings, batch.mask, dropout_key)
        # One more pass, dropped by the compiler where the guide needs no clean codes.
        clean = jnp.tanh(encode(batch.images, settings.steps))
        references = jax.lax.stop_gradient(guide.craft(batch, state.bank, clean))
        keys = jax.random.split(attack_key, len(batch.images))
        adversarial = attack(encode, batch.images, references, keys)

        def robust_loss(robust, clean, bank):
            targets = jax.lax.stop_gradient(guide.train(batch, bank, clean))
            return -masked_mean(robust * targets, batch.mask)

        objective = adversarial_objective(
            model,
            loss,
            settings,
            state,
            Crafted(batch, adversarial, train_key, loss_key),
            robust_loss,
        )
        return descend(state, tx, objective, awp=settings.awp)

    return step


class Crafted(NamedTuple):
    """A batch, its adversarial images, and the keys of dropout and hashing loss."""

    batch: Batch
    adversarial: Images
    train_key: jax.Array
    loss_key: jax.Array


def adversarial_objective(
    model: HashModel,
    loss: HashLoss,
    settings: Defense,
    state: TrainState,
    crafted: Crafted,
    robust_loss: Callable[[Codes, Codes, Bank], Scalar],
):
    """The objective of a step on clean and adversarial images, for ``descend``.

        loss(clean) + weight * robust_loss(u_adversarial, u_clean, bank)
        + quantization * mean((u_adversarial - sign u_adversarial)^2)
        + consistency * mean((u_adversarial - u_clean)^2).

    The bank holds the batch's clean codes. Without batch statistics, clean and
    adversarial images pass the network as one batch.
    """
    batch = crafted.batch

    def objective(params):
        robust, logits, stats = encode_pairs(model, loss, params, state, crafted)
        robust, clean = jnp.tanh(robust), jnp.tanh(logits)
        bank = state.bank.record(batch, jax.lax.stop_gradient(clean))
        clean_loss = loss.apply(
            params["loss"], state.constants, logits, batch, bank, crafted.loss_key
        )
        robust_part = robust_loss(robust, clean, bank)
        value = clean_loss + settings.weight * robust_part
        value += _extras(settings, robust, clean, batch.mask)
        parts = {"loss/clean": clean_loss, "loss/robust": robust_part}
        return value, (stats, bank, {"loss": value} | parts)

    return objective


def _extras(settings: Defense, robust: Codes, clean: Codes, mask):
    """The optional terms on adversarial codes; those of weight 0 are not computed."""
    value = jnp.zeros((), robust.dtype)
    if settings.quantization:
        rounding = masked_mean(rounding_error(robust), mask)
        value += settings.quantization * rounding
    if settings.consistency:
        value += settings.consistency * masked_mean((robust - clean) ** 2, mask)
    return value


def make_encode(
    model: HashModel, loss: HashLoss, state: TrainState, settings: Defense, mask, key
) -> Encode:
    """The network that images are crafted on.

    ``settings.crafting``: ``train`` crafts through live dropout with a new mask for
    each iteration, as the released code of CgAT does, and through batch normalization
    by the batch as it is in that iteration; ``eval`` without dropout and with running
    statistics. Running statistics stay as they are, unlike in the released code.
    """

    def encode(images, iteration):
        mode = {}
        if settings.crafting == "train":
            mode = {"key": jax.random.fold_in(key, iteration), "mask": mask}
        logits, _ = model.apply(state.params["model"], state.stats, images, **mode)
        return loss.scale(logits, state.step)

    return encode


def encode_pairs(model, loss, params, state: TrainState, crafted: Crafted):
    """Logits of adversarial and of clean images in training, and the new statistics.

    Each of the two batches is normalized by its own statistics; the running ones see
    them one after the other, adversarial first.
    """
    batch, adversarial, key, _ = crafted
    net, stats, clean = params["model"], state.stats, batch.images
    if not jax.tree.leaves(stats):  # pairs side by side: no row changes its device
        pairs = jnp.stack([adversarial, clean], axis=1)
        images = pairs.reshape(-1, *clean.shape[1:])
        logits, stats = model.apply(net, stats, images, key=key)
        pairs = logits.reshape(len(clean), 2, -1)
        robust, standard = pairs[:, 0], pairs[:, 1]
    else:
        robust_key, clean_key = jax.random.split(key)
        mask = batch.mask
        robust, stats = model.apply(net, stats, adversarial, key=robust_key, mask=mask)
        standard, stats = model.apply(net, stats, clean, key=clean_key, mask=mask)
    return loss.scale(robust, state.step), loss.scale(standard, state.step), stats
