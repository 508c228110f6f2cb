import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.losses.dsdh import fit_classifier, make_dsdh, sweep
from cgat_jax.losses.pairwise import make_dpsh
from tests import golden
from tests.losses import toy
from tests.reference import losses as reference


def test_golden_classifier(x64):
    _, constants = toy.tables(make_dsdh(), golden.bank())
    classifier = constants["classifier"]
    row = [-0.2229741244, -0.3592177098, -0.1264585565, 0.0488776554, 0]
    assert jnp.linalg.norm(classifier) == pytest.approx(0.9398829214, abs=1e-9)
    np.testing.assert_allclose(classifier[0], row, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_refresh_equals_the_loop_over_bits_and_images(rng, x64, scale):
    """Reference: coordinate descent bit by bit. Small codes let the labels decide."""
    data = toy.random_toy(rng, bits=7)
    data = data._replace(bank_codes=scale * data.bank_codes)
    _, constants = toy.tables(make_dsdh(), data.bank())
    signs = np.sign(data.bank_codes)
    binary, classifier = reference.dsdh_tables(signs, data.bank_codes, data.bank_labels)
    np.testing.assert_array_equal(constants["codes"], binary)
    np.testing.assert_allclose(constants["classifier"], classifier, rtol=1e-9)
    assert (binary != signs).any() == (scale < 1)


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.001])
def test_no_half_of_a_sweep_raises_the_objective(rng, x64, scale):
    """Both are block minimizations of mu|Y-BW|^2 + nu|W|^2 + eta|B-U|^2."""
    for _ in range(10):
        labels = jnp.array(rng.integers(0, 2, size=(13, 4)), float)
        relaxed = jnp.array(scale * np.tanh(rng.normal(size=(13, 7))))
        codes = jnp.array(rng.choice([-1.0, 1.0], size=(13, 7)))
        classifier = jnp.array(rng.normal(size=(7, 4)))
        values = [reference.dsdh_objective(codes, relaxed, labels, classifier)]
        for _ in range(4):
            classifier = fit_classifier(codes, labels)
            values.append(reference.dsdh_objective(codes, relaxed, labels, classifier))
            codes = jax.jit(sweep)(codes, relaxed, labels, classifier)
            values.append(reference.dsdh_objective(codes, relaxed, labels, classifier))
        assert (np.diff(values) <= 1e-9).all()
        assert values[-1] < values[0]


def test_no_classifier_is_better_than_the_fitted_one(rng, x64):
    codes = jnp.array(rng.choice([-1.0, 1.0], size=(13, 7)))
    labels = jnp.array(rng.integers(0, 2, size=(13, 4)), float)
    fitted = fit_classifier(codes, labels)

    def objective(classifier):
        return ((labels - codes @ classifier) ** 2).sum() + (classifier**2).sum()

    np.testing.assert_allclose(jax.grad(objective)(fitted), 0, atol=1e-12)


@pytest.mark.slow
def test_gradient_is_that_of_dpsh_without_quantization(rng, x64):
    data = toy.random_toy(rng)
    inputs = data.logits(), data.batch(), data.bank()
    gradients = [
        toy.value_and_gradient(loss, toy.tables(loss, data.bank()), *inputs)[1]
        for loss in (make_dsdh(), make_dpsh(eta=0.0))
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-16)


def test_without_binary_codes_quantization_pulls_nowhere(rng, x64):
    """With B = 0 it drew all codes to 0."""
    data = toy.random_toy(rng)
    inputs, bank = (data.logits(), data.batch()), data.bank()
    empty = bank._replace(codes=jnp.zeros_like(bank.codes))
    losses = make_dsdh(), make_dsdh(quantization=0.5)
    plain, pulled = (
        toy.value_and_gradient(loss, toy.tables(loss, empty), *inputs, bank)
        for loss in losses
    )
    assert pulled[0] == pytest.approx(plain[0], rel=1e-12)
    np.testing.assert_allclose(pulled[1], plain[1], rtol=1e-12, atol=1e-16)
    start = toy.tables(losses[1], bank)
    plain, pulled = (
        toy.value_and_gradient(loss, start, *inputs, bank)[0] for loss in losses
    )
    own = np.asarray(start[1]["codes"])[data.index]
    added = 0.5 * ((own - data.codes) ** 2).mean()
    assert pulled == pytest.approx(plain + added, rel=1e-12)


def test_before_the_first_epoch_binary_codes_are_as_empty_as_the_bank():
    """As in the released code: B and W stay 0 until codes have been recorded."""
    bank = golden.bank()
    bank = bank._replace(codes=jnp.zeros_like(bank.codes))
    _, constants = toy.tables(make_dsdh(), bank)
    for table in constants.values():
        np.testing.assert_array_equal(table, 0)
