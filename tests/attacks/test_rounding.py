"""Adversarial images of 256 levels: nearest, in the ball, in the range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.pgd import round_to_8_bits
from cgat_jax.sharding import to_images


def _oracle(adversarial, levels, epsilon):
    """Of the integers in the ball, the nearest; one pixel after the other."""
    found = np.zeros(adversarial.shape)
    for place, level in np.ndenumerate(levels):
        reach = 255 if epsilon is None else int(np.floor(epsilon * 255 + 1e-9))
        allowed = range(max(level - reach, 0), min(level + reach, 255) + 1)
        wanted = float(adversarial[place]) * 255
        found[place] = min(allowed, key=lambda k: abs(k - wanted))
    return found


@pytest.mark.parametrize("epsilon", [0.0, 1 / 255, 2.5 / 255, 8 / 255, 16 / 255, None])
def test_rounding_takes_the_nearest_level_of_the_ball(rng, epsilon):
    levels = rng.integers(0, 256, (2, 8, 8, 3))
    images = jnp.asarray(levels / 255, jnp.float32)
    radius = 0.2 if epsilon is None else epsilon
    moved = np.asarray(images) + rng.uniform(-radius, radius, images.shape)
    moved = jnp.asarray(np.clip(moved, 0, 1), jnp.float32)
    found = np.asarray(round_to_8_bits(moved, images, epsilon), np.float64) * 255
    np.testing.assert_allclose(found, np.round(found), atol=1e-4)
    np.testing.assert_array_equal(
        np.round(found), _oracle(np.asarray(moved), levels, epsilon)
    )
    if epsilon is not None:
        assert np.abs(np.round(found) - levels).max() <= epsilon * 255 + 1e-6


def test_the_whole_budget_is_used_and_the_radius_may_be_traced():
    levels = np.arange(256).reshape(1, 16, 16, 1).repeat(3, axis=3)
    images = jnp.asarray(levels / 255, jnp.float32)
    moved = jnp.clip(images + 8 / 255, 0, 1)
    found = jax.jit(round_to_8_bits)(moved, images, jnp.float32(8 / 255))
    expected = np.minimum(levels + 8, 255)
    np.testing.assert_array_equal(np.round(np.asarray(found) * 255), expected)


@pytest.mark.parametrize("reach", [0.3, 1, 8.5])
def test_images_between_the_levels_stay_in_their_ball(rng, reach):
    """Those that have no level in theirs stay as they are."""
    images = jnp.asarray(rng.random((2, 8, 8, 3)), jnp.float32)
    epsilon = reach / 255
    moved = jnp.asarray(rng.uniform(-epsilon, epsilon, images.shape), jnp.float32)
    found = np.asarray(
        round_to_8_bits(jnp.clip(images + moved, 0, 1), images, epsilon), np.float64
    )
    assert np.abs(found - np.asarray(images)).max() <= epsilon + 1.5e-4 / 255
    levels = found * 255
    is_level = np.abs(levels - np.round(levels)) < 1e-4
    own = np.asarray(images, np.float64) * 255
    lacks = np.floor(own + reach) < np.ceil(own - reach)
    near = np.abs(own + reach - np.round(own + reach)) < 1e-2
    near |= np.abs(own - reach - np.round(own - reach)) < 1e-2
    np.testing.assert_array_equal(is_level[~near], ~lacks[~near])


def test_a_radius_just_below_a_level_does_not_reach_it():
    """0.03137 is 7.9994 levels; the eighth was taken for the end of the ball."""
    images = to_images(jnp.full((1, 2, 2, 3), 100, jnp.uint8))
    moved = images + jnp.float32(0.03137)
    found = round_to_8_bits(moved, images, 0.03137)
    np.testing.assert_array_equal(np.round(np.asarray(found) * 255), 107)


def test_images_of_8_bits_stay_as_they_are(rng):
    levels = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    images = to_images(jnp.asarray(levels))
    np.testing.assert_array_equal(round_to_8_bits(images, images, 0.0), images)


@pytest.mark.parametrize("reach", [0, 1, 2, 4, 8, 16, 32, 255])
def test_both_ends_of_the_ball_are_kept_as_a_file_holds_them(reach):
    """Whatever float32 makes of reach / 255; the results are a file's own floats."""
    pixels = np.tile(np.arange(256, dtype=np.uint8), 3).reshape(1, 1, 256, 3)
    images = to_images(jnp.array(pixels))
    for sign in (-1, 1):
        moved = jnp.clip(images + sign * jnp.float32(reach / 255), 0, 1)
        expected = np.clip(pixels.astype(int) + sign * reach, 0, 255)
        for epsilon in (reach / 255, jnp.float32(reach / 255)):
            np.testing.assert_array_equal(
                round_to_8_bits(moved, images, epsilon),
                to_images(jnp.array(expected, jnp.uint8)),
            )
