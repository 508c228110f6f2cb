"""Attacks that know the alarm: they go through its views and its statistics."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgat_jax.alarm import Alarm
from cgat_jax.alarm.views import MOVED, view_images
from cgat_jax.attacks.apgd import adaptive_descent
from cgat_jax.attacks.pgd import Budget, round_to_8_bits, start_of
from cgat_jax.evaluation.network import Network
from cgat_jax.rng import device_stream
from cgat_jax.types import Codes, Images

AIM, LIMIT = 0.9, 0.98
SHARPNESS = 2.0


class Known(NamedTuple):
    """What an attacker knows of the alarm.

    Above ``aim``, a quantile of the clean queries' statistics, a statistic is penalized
    in units of ``spread``, the way from there to a quantile near the alarm's limit.
    """

    database: Float[Array, "M K"]
    centers: Float[Array, "S K"]
    aim: Float[Array, " S"]
    spread: Float[Array, " S"]


def known(alarm: Alarm, database_codes: np.ndarray) -> Known:
    """All of it: the calibration, the database and the center codes."""
    aim, limit = np.quantile(alarm.content.clean, (AIM, LIMIT), axis=0)
    spread = np.maximum(limit - aim, 1 / database_codes.shape[1])
    spread[-2:] = np.maximum((limit - aim)[-2:], 1e-3)  # moved, filtered: no Hamming
    tables = database_codes, alarm.content.centers, aim, spread
    return Known(*(jnp.asarray(table, jnp.float32) for table in tables))


def relaxed_statistics(
    logits: Float[Array, "V B K"], known: Known
) -> Float[Array, "B S"]:
    """The alarm's statistics [B, S]; signs have the gradient of tanh(2 z)."""
    codes, bits = jnp.tanh(logits), logits.shape[2]
    soft = jnp.tanh(SHARPNESS * logits[0])
    hard = soft + jax.lax.stop_gradient(jnp.sign(logits[0]) - soft)
    near, _ = jax.lax.top_k(hard @ known.database.T, min(10, len(known.database)))
    center = (hard @ known.centers.T).max(axis=1)
    change = jnp.abs(codes[1:] - codes[:1]).mean(axis=2) / 2
    moved, filtered = change[: len(MOVED)], change[len(MOVED) :]
    distances = [(1 - x / bits) / 2 for x in (near.mean(axis=1), center)]
    return jnp.stack([*distances, moved.mean(axis=0), filtered.mean(axis=0)], axis=1)


def evade(
    network: Network,
    known: Known,
    pixels: np.ndarray,
    references: np.ndarray,
    weight: float,
    *,
    budget: Budget,
    batch_size: int,
) -> np.ndarray:
    """Images, uint8, that move away from references and look clean to the alarm.

    APGD on mean(tanh(z) * reference) + weight * sum of the alarm's statistics above
    their aim; minus a target code as reference moves towards it.
    """
    run = functools.partial(_program(network, budget), known, jnp.float32(weight))
    count, found = len(pixels), []
    keys = device_stream(0, "apgd")
    for start in range(0, count, batch_size):
        rows = np.arange(start, start + batch_size) % count  # filled up by the first
        key = jax.vmap(jax.random.fold_in, (None, 0))(keys, rows)
        made = run(pixels[rows], references[rows].astype(np.float32), key)
        found.append(np.asarray(made))
    return np.concatenate(found)[:count]


@functools.lru_cache(maxsize=4)
def _program(network: Network, budget: Budget):
    def attack(known, weight, pixels, references: Codes, keys) -> Array:
        images: Images = pixels.astype(jnp.float32) / 255

        def objective(x, iteration):
            # View by view: on a CPU large batches of convolutions take twice as long.
            logits = jax.lax.map(network.apply, view_images(x))
            goal = (jnp.tanh(logits[0]) * references).mean(axis=1)
            above = relaxed_statistics(logits, known) - known.aim[None]
            odd = jax.nn.relu(above / known.spread[None]).sum(axis=1)
            return goal + weight * odd

        start = start_of(images, keys, budget)
        made = adaptive_descent(objective, images, start, budget)
        made = round_to_8_bits(made, images, budget.epsilon)
        return jnp.round(made * 255).astype(jnp.uint8)

    return jax.jit(attack)
