import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cgat_jax.config import Defense, Training
from cgat_jax.training.optimizer import make_optimizer, make_schedule
from tests.adam import allow_adam


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


def test_a_cosine_falls_from_the_rate_through_its_half_to_zero():
    """Reference: rate * (1 + cos(pi t / T)) / 2, at whole steps of T = 40."""
    settings = Training(epochs=4, learning_rate=0.2, schedule="cosine")
    schedule = make_schedule(settings, steps_per_epoch=10)
    rates = [float(schedule(t)) for t in (0, 10, 20, 30, 40)]
    expected = 0.1 * (1 + np.cos(np.pi * np.array([0, 0.25, 0.5, 0.75, 1])))
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-8)


def _four_steps(settings, rng):
    """The first parameters, four gradients, and the parameters after these."""
    tx = make_optimizer(settings, lambda step: 0.1)
    first, gradients = rng.normal(size=3), rng.normal(size=(4, 3))
    params = {"w": jnp.array(first, jnp.float32)}
    state = tx.init(params)
    for gradient in gradients:
        gradient = {"w": jnp.array(gradient, jnp.float32)}
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return first, gradients, params["w"]


def test_steps_equal_the_published_rule(rng):
    """Reference: g' = g + wd * p; m = 0.9 m + g'; p = p - lr * m."""
    p, gradients, found = _four_steps(Training(), rng)
    m = np.zeros(3)
    for gradient in gradients:
        m = 0.9 * m + gradient + 5e-4 * p
        p = p - 0.1 * m
    np.testing.assert_allclose(found, p, rtol=1e-5)


def test_adam_equals_pytorchs_with_the_decay_in_its_gradient(rng, monkeypatch):
    """Reference: torch.optim.Adam, betas (0.8, 0.999), eps 1e-8, weight_decay 0.3."""
    allow_adam(monkeypatch)
    settings = Training(optimizer="adam", momentum=0.8, weight_decay=0.3)
    p, gradients, found = _four_steps(settings, rng)
    m, v = np.zeros((2, 3))
    for t, gradient in enumerate(gradients, start=1):
        gradient = gradient + 0.3 * p
        m = 0.8 * m + 0.2 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        root = np.sqrt(v / (1 - 0.999**t)) + 1e-8
        p = p - 0.1 * m / (1 - 0.8**t) / root
    np.testing.assert_allclose(found, p, rtol=1e-5, atol=1e-5)
