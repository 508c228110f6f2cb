"""Three steps of the whole algorithm against the released code's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.pgd import Budget, ball, sign_descent
from cgat_jax.config import Defense
from cgat_jax.defenses.cgat import make_cgat_step
from cgat_jax.losses.pairwise import make_dpsh
from cgat_jax.training.optimizer import make_optimizer
from cgat_jax.types import Bank, Batch, HashModel, TrainState

EPSILON = 8 / 255
_n, _d, _k = np.arange(8)[:, None], np.arange(48)[None], np.arange(8)[:, None]
IMAGES = 0.5 + 0.5 * np.sin(0.13 * _n * _d + 0.7 * _n + 0.05 * _d)
WEIGHTS = 0.3 * np.sin(0.37 * _k + 0.11 * _d + 0.2 * _k * _d + 0.2)
_a, _c = np.arange(8)[:, None], np.arange(3)[None]
LABELS = ((2 * _a + 3 * _c + _a * _c) % 5 < 2).astype(float)
BATCHES = [(0, 1, 2, 3), (4, 5, 6, 7), (2, 5, 1)]

STEPS = {  # clean loss, adversarial loss, sum of |x_adv - x|
    "soft": [
        (0.7764094742, 0.0730401717, 4.8779029490),
        (0.7122184956, -0.0002196819, 4.9004317136),
        (0.7507815342, 0.0733466862, 3.6068476909),
    ],
    "binary": [
        (0.7764094742, 0.0055278880, 4.8779029490),
        (0.7132564996, 0.0091315470, 4.9199274070),
        (0.7510819002, -0.0667441746, 3.5970377364),
    ],
}
FINAL = {  # norm of W, W[0, 0], W[7, 47], beta[0], sum of the bank
    "soft": (4.2045416110, 0.0567053581, -0.2980882553, -0.0049747907, 9.3051293811),
    "binary": (4.2050610667, 0.0578799841, -0.2987315159, -0.0032311130, 12.0),
}


def _linear_model():
    def apply(params, stats, images, *, key=None, mask=None):
        flat = images.reshape(len(images), -1)
        return flat @ params["weights"].T + params["bias"][None], stats

    return HashModel(init=lambda key, images: ({}, {}), apply=apply)


def _batch(rows, size):
    pad = size - len(rows)
    images = np.pad(IMAGES[list(rows)], ((0, pad), (0, 0))).reshape(size, 4, 4, 3)
    labels = np.pad(LABELS[list(rows)], ((0, pad), (0, 0)))
    indices = jnp.array([*rows, *[8] * pad], jnp.int32)
    mask = jnp.arange(size) < len(rows)
    return Batch(jnp.array(images), jnp.array(labels), indices, mask)


def _attack_from_the_golden_start(rows, size, seen):
    start = np.zeros((size, 48))
    start[: len(rows)] = EPSILON * np.sin(1.3 * np.array(rows)[:, None] + 0.7 * _d)
    budget = Budget(epsilon=EPSILON, step_size=2 / 255, steps=7)

    def attack(encode, images, references, keys):
        def agreement(x, iteration):
            return (jnp.tanh(encode(x, iteration)) * references).mean(axis=1)

        x = jnp.clip(images + start.reshape(images.shape), *ball(images, EPSILON))
        x = sign_descent(agreement, images, x, budget)
        seen.append(jnp.abs(x - images)[: len(rows)].sum())
        return x

    return attack


def _initial_state(tx):
    params = {"weights": jnp.array(WEIGHTS), "bias": jnp.zeros(8)}
    logits, _ = _linear_model().apply(params, {}, jnp.array(IMAGES))
    bank = Bank(jnp.sign(logits), jnp.array(LABELS))
    params = {"model": params, "loss": {}}
    return TrainState(jnp.array(0), params, {}, {}, bank, tx.init(params))


@pytest.mark.slow
@pytest.mark.parametrize("bank", ["soft", "binary"])
@pytest.mark.parametrize("pad_to", [None, 4])
def test_golden_three_steps(x64, bank, pad_to):
    """Padding the last batch of three to four changes nothing."""
    tx = make_optimizer(Defense(), lambda step: 0.01)
    state = _initial_state(tx)
    for rows, expected in zip(BATCHES, STEPS[bank], strict=True):
        size, seen = pad_to or len(rows), []
        attack = _attack_from_the_golden_start(rows, size, seen)
        settings = Defense(bank=bank)
        step = make_cgat_step(_linear_model(), make_dpsh(), attack, tx, settings)
        state, metrics = step(state, _batch(rows, size), jax.random.key(0))
        got = metrics["loss/clean"], metrics["loss/robust"], seen[0]
        np.testing.assert_allclose(got, expected, atol=1e-9)
    net, codes = state.params["model"], state.bank.codes
    codes = jnp.sign(codes) if bank == "binary" else codes
    got = jnp.linalg.norm(net["weights"]), net["weights"][0, 0], net["weights"][7, 47]
    np.testing.assert_allclose(
        (*got, net["bias"][0], codes.sum()), FINAL[bank], atol=1e-9
    )
