import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cgat_jax.config import Defense, Training
from cgat_jax.training.optimizer import make_optimizer, make_schedule


@pytest.mark.parametrize(
    ("steps_per_epoch", "change"), [(157, 2355), (329, 4935), (313, 4695)]
)
def test_golden_changes_of_the_papers_rate(steps_per_epoch, change):
    schedule = make_schedule(Defense(), steps_per_epoch)
    rates = [float(schedule(t)) for t in (0, change - 1, change, 30 * steps_per_epoch)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001], rtol=1e-5)


def test_the_pretraining_rate_by_epoch():
    """Set at the end of an epoch: 34 epochs, 33 and 33 of a hundred."""
    schedule = make_schedule(Training(), steps_per_epoch=10)
    rates = [float(schedule(10 * epoch)) for epoch in (0, 33, 34, 66, 67, 99)]
    expected = [1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 8, 12, 20, 100, 101])
def test_thirds_are_three_rates_and_no_more(epochs):
    schedule = make_schedule(Training(epochs=epochs), steps_per_epoch=7)
    rates = [float(schedule(7 * epoch)) for epoch in range(epochs)]
    period = max(epochs // 3, 1)
    thirds = [min(max(epoch - 1, 0) // period, 2) for epoch in range(epochs)]
    np.testing.assert_allclose(rates, 0.01 * 0.1 ** np.array(thirds), rtol=1e-5)
    assert min(rates) > 0.99e-4


def test_the_second_decay_is_an_option():
    settings = Defense(schedule="half_and_three_quarters")
    schedule = make_schedule(settings, 157)
    rates = [float(schedule(t)) for t in (2354, 2355, 3531, 3532)]
    np.testing.assert_allclose(rates, [1e-2, 1e-3, 1e-3, 1e-4], rtol=1e-5)


def test_steps_equal_the_published_rule(rng):
    """Reference: g' = g + wd * p; m = 0.9 m + g'; p = p - lr * m."""
    settings = Training(learning_rate=0.1)
    tx = make_optimizer(settings, lambda step: 0.1)
    params = {"w": jnp.array(rng.normal(size=3), jnp.float32)}
    state, p, m = tx.init(params), np.array(params["w"]), np.zeros(3)
    for _ in range(4):
        gradient = rng.normal(size=3)
        updates, state = tx.update(
            {"w": jnp.array(gradient, jnp.float32)}, state, params
        )
        params = optax.apply_updates(params, updates)
        m = 0.9 * m + gradient + 5e-4 * p
        p = p - 0.1 * m
    np.testing.assert_allclose(params["w"], p, rtol=1e-5)
