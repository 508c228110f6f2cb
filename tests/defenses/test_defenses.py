"""What every defense and every option of a defense promises."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cgat_jax.config import Defense
from cgat_jax.defenses import DEFENSES, make_defense_step, start_defense
from cgat_jax.defenses.descent import with_average
from cgat_jax.losses import LOSSES, make_loss
from cgat_jax.training.optimizer import make_optimizer
from tests.defenses import toy

OPTIONS = {
    "plain": {},
    "binary bank": {"bank": "binary"},
    "eval crafting": {"crafting": "eval"},
    "logits": {"surrogate": "logits"},
    "jaccard": {"centers": "jaccard"},
    "cosine": {"centers": "cosine"},
    "quantization": {"quantization": 0.1},
    "consistency": {"consistency": 0.5},
    "awp": {"awp": 0.01},
    "ema": {"ema": 0.9},
    "adam": {"optimizer": "adam", "learning_rate": 1e-3},
}


def _prepare(settings, loss="dpsh"):
    """Network state and step, as the defend stage makes them (ten steps an epoch)."""
    key, loss = jax.random.key(1), make_loss(loss)
    tx = make_optimizer(settings, lambda step: settings.learning_rate)
    bank = toy.state(tx).bank
    state = toy.state(tx, loss.init(key, bank))
    state = start_defense(key, state, settings, toy.LABELS)
    return state, make_defense_step(toy.linear_model(), loss, tx, settings, 10)


def _leaves_close(one, other):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "loss"),
    [("cgat", loss) for loss in LOSSES]
    + [
        (name, loss)
        for name in DEFENSES
        for loss in ("dsdh_c", "csq")
        if name != "cgat"
    ],
)
def test_defenses_train_with_any_loss(name, loss):
    state, step = _prepare(Defense(name=name), loss)
    new, metrics = toy.jit(step)(state, toy.batch(), jax.random.key(0))
    assert all(np.isfinite(value) for value in metrics.values())
    weights = [s.params["model"]["weights"] for s in (state, new)]
    assert (weights[0] != weights[1]).any() and int(new.step) == 1
    assert jax.tree.structure(new) == jax.tree.structure(state)
    np.testing.assert_allclose(
        new.bank.codes[toy.ROWS], toy.clean_codes()[toy.ROWS], atol=1e-6
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "option"),
    [("cgat", option) for option in OPTIONS]
    + [(name, "plain") for name in DEFENSES if name != "cgat"],
)
def test_padded_rows_change_nothing(name, option):
    state, step = _prepare(Defense(name=name, **OPTIONS[option]))
    step = toy.jit(step)
    exact, _ = step(state, toy.batch(), jax.random.key(0))
    padded, _ = step(state, toy.batch(pad=3), jax.random.key(0))
    _leaves_close(padded, exact)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in DEFENSES if name != "standard"])
def test_training_lowers_the_robust_loss(name):
    settings = Defense(name=name, learning_rate=0.1, weight=4.0)
    state, step = _prepare(settings)
    step, losses = toy.jit(step), []
    for _ in range(40):
        state, metrics = step(state, toy.batch(), jax.random.key(0))
        losses.append(float(metrics["loss/robust"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.05


@pytest.mark.slow
def test_the_average_is_kept_beside_the_weights():
    state, step = _prepare(Defense(ema=0.75))
    plain, plain_step = _prepare(Defense())
    expected = np.array(state.ema[0]["weights"])
    np.testing.assert_array_equal(expected, toy.WEIGHTS)
    step, plain_step = toy.jit(step), toy.jit(plain_step)
    for t in range(1, 31):  # 27 / 36 is 0.75
        state, _ = step(state, toy.batch(), jax.random.key(0))
        plain, _ = plain_step(plain, toy.batch(), jax.random.key(0))
        now = np.array(plain.params["model"]["weights"])
        rate = min(0.75, t / (9 + t))
        expected = rate * expected + (1 - rate) * now
    np.testing.assert_allclose(state.ema[0]["weights"], expected, rtol=1e-6)
    np.testing.assert_array_equal(state.params["model"]["weights"], now)
    assert plain.ema == ()


def test_the_average_forgets_what_training_started_from():
    """With a constant 0.999, 78 % of it would be left after the quickstart's steps."""

    def stay_at_zero(state, batch, key):
        return state._replace(step=state.step + 1), {}

    step = toy.jit(with_average(stay_at_zero, 0.999))
    state = toy.state(optax.identity())
    start = state.params["model"], state.stats
    zero = jax.tree.map(jnp.zeros_like, start[0])
    state = state._replace(params=state.params | {"model": zero}, ema=start)
    for _ in range(252):
        state, _ = step(state, toy.batch(), jax.random.key(0))
    assert np.abs(start[0]["weights"]).max() > 0.01
    assert np.abs(state.ema[0]["weights"]).max() < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFENSES)
def test_what_a_defense_says_it_does_not_use_it_never_reads(name):
    read = set()

    class Watched(Defense):
        def __getattribute__(self, key):
            read.add(key)
            return super().__getattribute__(key)

    state, step = _prepare(Watched(name=name))
    jax.eval_shape(step, state, toy.batch(), jax.random.key(0))
    if name == "standard":  # an inner attack is made for it as well, and left alone
        read.discard("surrogate")
    options = {"bank", "crafting", "surrogate", "centers", "quantization"}
    options |= {"consistency", "awp"}
    assert options - read == {*DEFENSES[name].unused}


def _first_metrics(**settings):
    state, step = _prepare(Defense(**settings))
    _, metrics = toy.jit(step)(state, toy.batch(), jax.random.key(0))
    return {name: float(value) for name, value in metrics.items()}


@pytest.mark.long
@pytest.mark.parametrize("name", ["cgat", "saat", "at_self"])
def test_weights_of_the_terms_add_up(name):
    """With no steps and no budget the adversarial codes are the clean ones."""
    still = {"name": name, "steps": 0, "epsilon": 0.0}
    codes = toy.clean_codes()[toy.ROWS]
    rounding = ((codes - np.sign(codes)) ** 2).mean()
    plain = _first_metrics(**still)
    more = _first_metrics(**still, weight=3.0, quantization=2.0, consistency=5.0)
    gain = 2 * plain["loss/robust"] + 2 * rounding
    assert more["loss"] == pytest.approx(plain["loss"] + gain, rel=1e-5)
    whole = plain["loss/clean"] + plain["loss/robust"]
    assert plain["loss"] == pytest.approx(whole, rel=1e-5)


@pytest.mark.long
def test_crafting_without_dropout_never_hands_the_network_a_key():
    seen = []

    def apply(params, stats, images, *, key=None, mask=None):
        seen.append(key is not None)
        return toy.linear_model().apply(params, stats, images)

    model = toy.linear_model()._replace(apply=apply)
    tx = make_optimizer(Defense(), lambda step: 0.01)
    for crafting, expected in (("train", [True]), ("eval", [True, False])):
        seen.clear()
        settings = dataclasses.replace(Defense(), crafting=crafting)
        step = make_defense_step(model, make_loss("dpsh"), tx, settings, 10)
        step(toy.state(tx), toy.batch(), jax.random.key(0))
        assert sorted(set(seen), reverse=True) == expected


def test_the_step_of_an_unknown_defense_names_the_nearest():
    tx = make_optimizer(Defense(), lambda step: 0.01)
    parts = toy.linear_model(), make_loss("dpsh"), tx
    with pytest.raises(ValueError, match="unknown defense 'cgta'.*did you mean 'cgat'"):
        make_defense_step(*parts, Defense(name="cgta"), 1)
