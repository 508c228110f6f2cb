"""One rule for batch statistics in every defense, on a network of one normalization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cgat_jax.config import Defense
from cgat_jax.defenses import DEFENSES, make_defense_step, start_defense
from cgat_jax.defenses.cgat import make_cgat_step
from cgat_jax.losses import make_loss
from cgat_jax.models import _as_functions
from cgat_jax.models.layers.blocks import BatchNorm
from cgat_jax.training.optimizer import make_optimizer
from tests.defenses import toy

STATS = {"bn": {"mean": jnp.full(3, 0.4), "var": jnp.full(3, 0.2)}}


class _Network(nn.Module):
    @nn.compact
    def __call__(self, images, train=False, mask=None):
        x = BatchNorm(name="bn")(images, train, mask).reshape(len(images), -1)
        weights = self.param("weights", lambda key: jnp.array(toy.WEIGHTS))
        return x @ weights


MODEL = _as_functions(_Network())


def prepare(settings):
    key, loss = jax.random.key(1), make_loss("dpsh")
    tx = make_optimizer(settings, lambda step: settings.learning_rate)
    net, _ = MODEL.init(key, jnp.array(toy.IMAGES))
    params = {"model": net, "loss": {}}
    state = toy.state(tx)._replace(params=params, stats=STATS)
    state = state._replace(opt_state=tx.init(params))
    state = start_defense(key, state, settings, toy.LABELS)
    return state, toy.jit(make_defense_step(MODEL, loss, tx, settings, 10))


def moved(stats, images):
    """Reference: PyTorch's rule for the running statistics, in NumPy."""
    values = np.asarray(images, np.float64).reshape(-1, 3)
    return {
        "mean": 0.9 * stats["mean"] + 0.1 * values.mean(0),
        "var": 0.9 * stats["var"] + 0.1 * values.var(0, ddof=1),
    }


def close(one, other, **tolerance):
    tolerance = {"rtol": 1e-5, "atol": 1e-6} | tolerance
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


EVERY = [(name, "train") for name in DEFENSES] + [("cgat", "eval")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "crafting"), EVERY)
def test_running_statistics_see_adversarial_and_clean_images_and_no_crafting(
    name, crafting
):
    """With a budget of 0 both are the clean images: two moves, however many steps."""
    settings = Defense(name=name, crafting=crafting, steps=3, epsilon=0.0)
    state, step = prepare(settings)
    new, _ = step(state, toy.batch(pad=3), jax.random.key(0))
    expected = STATS["bn"]
    for _ in range(1 if name == "standard" else 2):
        expected = moved(expected, toy.IMAGES[toy.ROWS])
    close(new.stats["bn"], expected)


def test_adversarial_images_come_first():
    settings, images = Defense(), toy.IMAGES[toy.ROWS]
    state, _ = prepare(settings)

    def halve(encode, images, references, keys):
        return images / 2

    tx = make_optimizer(settings, lambda step: settings.learning_rate)
    step = make_cgat_step(MODEL, make_loss("dpsh"), halve, tx, settings)
    new, _ = toy.jit(step)(state, toy.batch(pad=1), jax.random.key(0))
    close(new.stats["bn"], moved(moved(STATS["bn"], images / 2), images))


@pytest.mark.long
@pytest.mark.parametrize(("name", "crafting"), EVERY)
def test_padded_rows_change_nothing(name, crafting):
    options = {"awp": 0.01, "ema": 0.9, "consistency": 0.5, "quantization": 0.1}
    state, step = prepare(Defense(name=name, crafting=crafting, **options))
    exact, _ = step(state, toy.batch(), jax.random.key(0))
    padded, _ = step(state, toy.batch(pad=3), jax.random.key(0))
    close(padded, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_weight_perturbation_leaves_the_statistics_alone():
    plain, step = prepare(Defense())
    plain, _ = step(plain, toy.batch(), jax.random.key(0))
    state, step = prepare(Defense(awp=0.05))
    state, _ = step(state, toy.batch(), jax.random.key(0))
    close(state.stats, plain.stats)
    weights = [s.params["model"]["weights"] for s in (plain, state)]
    assert (weights[0] != weights[1]).any()


@pytest.mark.slow
def test_the_average_is_of_weights_and_statistics():
    state, step = prepare(Defense(ema=0.75))
    expected = 0.4
    for rate in (1 / 10, 2 / 11):
        state, _ = step(state, toy.batch(), jax.random.key(0))
        mean = np.asarray(state.stats["bn"]["mean"])
        expected = rate * expected + (1 - rate) * mean
    params, stats = state.ema
    close(stats["bn"]["mean"], expected)
    logits, _ = MODEL.apply(params, stats, jnp.array(toy.IMAGES))
    assert jnp.isfinite(logits).all() and set(params) == set(state.params["model"])


@pytest.mark.slow
def test_crafting_mode_decides_what_the_attack_sees():
    """Batch statistics in ``train``, running ones in ``eval``: other images result."""
    found = []
    for crafting in ("train", "eval"):
        settings = Defense(name="at_self", crafting=crafting, steps=2, epsilon=0.1)
        state, step = prepare(settings)
        state = state._replace(stats={"bn": {"mean": jnp.ones(3), "var": jnp.ones(3)}})
        new, _ = step(state, toy.batch(), jax.random.key(0))
        found.append(np.asarray(new.stats["bn"]["mean"]))
    assert np.abs(found[0] - found[1]).max() > 1e-4
