import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.errors import InputError
from cgat_jax.losses.dch import cauchy_distance, make_dch
from cgat_jax.types import Bank
from tests.losses import toy


def _value_and_gradient(rng, logits):
    data = toy.random_toy(rng)
    loss = make_dch()
    return toy.value_and_gradient(loss, ({}, {}), logits, data.batch(), data.bank())


def test_identical_codes_are_finite_and_at_rest(rng, x64):
    """Every cosine, also that with ones, is past 0.99."""
    value, gradient = _value_and_gradient(rng, jnp.full((toy.ROWS, toy.BITS), 0.7))
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.slow
def test_distance_has_no_gradient_past_the_largest_cosine(x64):
    first = jnp.array([[0.5, 0.5, -0.5]])
    others = jnp.array([[0.9, 0.8, -0.9], [0.9, 0.2, -0.9]])  # cosines 0.998, 0.895
    for other, at_rest in zip(others, (True, False), strict=True):
        gradient = jax.grad(lambda x, y=other: cauchy_distance(x, y[None]).sum())(first)
        assert (jnp.abs(gradient).max() == 0) == at_rest


def test_codes_of_one_bit_are_refused():
    """Their cosines are 1 or -1: the loss had no gradient."""
    bank = Bank(jnp.zeros((4, 1)), jnp.zeros((4, 2)))
    with pytest.raises(InputError, match="dch needs model.bits to be 2 or more, got 1"):
        make_dch().init(toy.KEY, bank)


def test_distance_by_hand():
    """K/2 (1 - cos): orthogonal, opposite, and the least there is."""
    codes = jnp.array([[1.0, 1.0], [0.5, -0.5], [-1.0, -1.0], [0.3, 0.3]])
    got = cauchy_distance(codes[:1], codes)
    np.testing.assert_allclose(got, [[0.01, 1.0, 2.0, 0.01]], rtol=1e-5)


def test_distance_of_different_signs_is_the_hamming_distance(rng):
    """Of equal ones it is 0.01 K/2."""
    signs = rng.choice([-1.0, 1.0], size=(6, 9)).astype(np.float32)
    hamming = (signs[:, None] != signs[None]).sum(axis=2)
    got = cauchy_distance(jnp.array(signs), jnp.array(signs))
    np.testing.assert_allclose(got, np.maximum(hamming, 0.045), rtol=1e-5)


def test_codes_of_different_lengths_are_as_far_as_their_signs(rng, x64):
    """Cosines do not change with a code's length."""
    codes = jnp.array(rng.normal(size=(4, 9)))
    lengths = jnp.array(rng.uniform(0.1, 5.0, size=(4, 1)))
    np.testing.assert_allclose(
        cauchy_distance(codes, codes), cauchy_distance(lengths * codes, codes)
    )


@pytest.mark.parametrize("kind", ["none", "all"])
def test_pairs_of_one_kind_weigh_one(rng, x64, kind):
    """Reference: the unweighted mean, in NumPy."""
    data = toy.random_toy(rng)
    labels = np.zeros_like(data.labels) if kind == "none" else np.ones_like(data.labels)
    batch = data._replace(labels=labels).batch()
    inputs = data.logits(), batch, data.bank()
    value, _ = toy.value_and_gradient(make_dch(), ({}, {}), *inputs)

    cosine = data.codes @ data.codes.T
    norms = np.linalg.norm(data.codes, axis=1)
    distance = toy.BITS / 2 * (1 - np.minimum(cosine / np.outer(norms, norms), 0.99))
    spread = np.abs(data.codes).sum(axis=1) / norms / toy.BITS**0.5
    spread = toy.BITS / 2 * (1 - np.minimum(spread, 0.99))
    entropy = np.log(1 + 20 / distance)
    if kind == "all":
        entropy += np.log(distance / 20)
    expected = entropy.mean() + 0.1 * np.log(1 + spread / 20).mean()
    assert value == pytest.approx(expected, rel=1e-12)
