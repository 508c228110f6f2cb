"""What every attack promises, and the sign descent's own arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks import ATTACKS, Budget, parse_attacks
from cgat_jax.attacks.pgd import away_from_references

EPSILON = 8 / 255


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    weights = jnp.array(rng.normal(size=(6, 75)) / 8, jnp.float32)

    def encode(images, iteration):
        return images.reshape(len(images), -1) @ weights.T

    images = jnp.array(rng.random((5, 5, 5, 3)), jnp.float32)
    images = images.at[0].set(0.0).at[1].set(1.0)  # at the ends of the pixel range
    references = jnp.array(rng.choice([-1.0, 1.0], (5, 6)), jnp.float32)
    keys = jax.random.split(jax.random.key(3), 5)
    return encode, images, references, keys


def _make(name, **settings):
    return ATTACKS[name].make(Budget(**{"epsilon": EPSILON, "steps": 20} | settings))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_result_is_in_the_ball_and_in_the_pixel_range(problem, name):
    moved = _make(name)(*problem)
    assert jnp.abs(moved - problem[1]).max() <= EPSILON + 1e-7
    assert moved.min() >= 0 and moved.max() <= 1


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_keys_give_the_same_images(problem, name):
    attack = _make(name)
    np.testing.assert_array_equal(attack(*problem), attack(*problem))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_budget_of_zero_is_the_identity(problem, name):
    np.testing.assert_array_equal(_make(name, epsilon=0.0)(*problem), problem[1])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_image_does_not_depend_on_its_batch(problem, name):
    encode, images, references, keys = problem
    attack = _make(name)
    whole = attack(*problem)
    for row in range(len(images)):
        one = np.s_[row : row + 1]
        alone = attack(encode, images[one], references[one], keys[one])
        np.testing.assert_array_equal(alone[0], whole[row])


def test_zero_steps_without_a_random_start_are_the_identity(problem):
    attack = _make("cgat", steps=0, random_start=False)
    np.testing.assert_array_equal(attack(*problem), problem[1])


def test_cgat_lowers_its_agreement_below_what_noise_does(problem):
    encode, _, references, _ = problem

    def agreement(images):
        return (jnp.tanh(encode(images, 0)) * references).mean(axis=1)

    attacked, noisy = (_make(name)(*problem) for name in ("cgat", "noise"))
    assert (agreement(attacked) < agreement(noisy)).all()


def test_saturated_codes_stop_the_tanh_surrogate_but_not_the_logits(problem):
    encode, *rest = problem

    def saturated(images, iteration):
        return 1e4 * encode(images, iteration)

    budget = Budget(epsilon=EPSILON, steps=5, random_start=False)
    for surrogate, moves in (("tanh", False), ("logits", True)):
        attack = away_from_references(budget, surrogate=surrogate)
        changed = attack(saturated, *rest) != problem[1]
        assert (changed[2:].mean() > 0.9) == moves


def test_a_reference_of_zeros_moves_nothing_but_the_start(problem):
    encode, images, references, keys = problem
    arguments = encode, images, jnp.zeros_like(references), keys
    np.testing.assert_array_equal(_make("cgat")(*arguments), _make("noise")(*arguments))


def test_steps_equal_a_numpy_loop_on_a_linear_network(problem):
    """Signs of the exact gradient of mean(tanh(Wx) * c), clipped after each step."""
    encode, images, references, keys = problem
    weights = np.array(jax.jacobian(lambda x: encode(x[None], 0)[0])(images[2]))
    x = origin = np.array(images[2])
    for _ in range(3):
        slope = 1 - np.tanh((weights * x).sum(axis=(1, 2, 3))) ** 2
        gradient = np.tensordot(slope * np.array(references[2]), weights, 1)
        x = x - np.float32(1 / 255) * np.sign(gradient)
        x = np.clip(np.clip(x, origin - EPSILON, origin + EPSILON), 0, 1)
    attack = _make("cgat", steps=3, step_size=1 / 255, random_start=False)
    moved = attack(encode, images, references, keys)[2]
    np.testing.assert_allclose(moved, x, atol=1e-6)


def test_attack_lists_are_parsed_in_order_and_checked():
    assert parse_attacks(" noise, cgat,noise,") == ["noise", "cgat"]
    assert parse_attacks("") == []
    with pytest.raises(ValueError, match="unknown attack 'cgta'.*did you mean 'cgat'"):
        parse_attacks("noise,cgta")
