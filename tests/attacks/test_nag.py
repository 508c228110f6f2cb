"""NAG's noises: what the network is shown, and the step that follows from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.nag import COPIES, nag
from cgat_jax.attacks.pgd import Budget

COUNT, SIDE, BITS, STEPS, EPSILON = 3, 4, 6, 3, 0.1
WEIGHTS = np.random.default_rng(0).normal(size=(3 * SIDE**2, BITS)) / 2


@pytest.fixture
def images(rng):
    """Far enough from the ends of the pixel range that no noise is clipped there."""
    return rng.uniform(0.25, 0.75, (COUNT, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def references(rng):
    return rng.choice([-1.0, 1.0], (COUNT, BITS)).astype(np.float32)


def _shown(images, references, **settings):
    """The result, and what encode was given: [iterations, copies, images, pixels]."""
    weights, seen = jnp.array(WEIGHTS, jnp.float32), {}

    def encode(x, iteration):
        def keep(number, pixels):
            seen[int(number)] = np.array(pixels)

        jax.debug.callback(keep, iteration, x)
        return x.reshape(len(x), -1) @ weights

    budget = Budget(epsilon=EPSILON, steps=STEPS, random_start=False, **settings)
    keys = jax.random.split(jax.random.key(1), COUNT)
    moved = nag(budget)(encode, jnp.array(images), jnp.array(references), keys)
    jax.effects_barrier()
    assert sorted(seen) == list(range(STEPS))
    stacked = np.stack([seen[number] for number in range(STEPS)])
    return np.array(moved), stacked.reshape(STEPS, COPIES, COUNT, SIDE, SIDE, 3)


def test_every_copy_of_every_iteration_has_a_noise_of_its_own(images, references):
    """Without a step, all of them are noises around the same images."""
    moved, shown = _shown(images, references, step_size=0.0)
    np.testing.assert_array_equal(moved, images)
    noises = (shown - images).reshape(STEPS * COPIES * COUNT, -1)
    assert len(noises) == 36 and np.abs(noises).max() <= EPSILON + 1e-6
    for number, noise in enumerate(noises):
        apart = np.abs(noises[:number] - noise).mean(axis=1) / EPSILON
        assert (apart > 0.3).all()  # two uniform noises: two thirds
    low, high = np.quantile(noises / EPSILON, [0.1, 0.9])
    assert low == pytest.approx(-0.8, abs=0.05) and high == pytest.approx(0.8, abs=0.05)


def test_a_step_is_the_sign_of_the_mean_gradient_of_the_copies(images, references):
    """Ascent on mean(tanh(Wx) * r), in NumPy on the copies that were shown."""
    moved, shown = _shown(images, references, step_size=EPSILON / 2)
    x, alone = images.astype(np.float64), []
    for copies in shown:
        assert np.abs(copies - x).max() <= EPSILON + 1e-6
        codes = np.tanh(copies.reshape(COPIES, COUNT, -1) @ WEIGHTS)
        slopes = ((1 - codes**2) * references) @ WEIGHTS.T
        step = np.sign(slopes.mean(axis=0)).reshape(x.shape)
        alone.append((np.sign(slopes[0]).reshape(x.shape) != step).mean())
        x = x + EPSILON / 2 * step
        x = np.clip(x, images - EPSILON, images + EPSILON)
    np.testing.assert_allclose(moved, x, atol=1e-6)
    assert min(alone) > 0  # where one copy alone would step otherwise
