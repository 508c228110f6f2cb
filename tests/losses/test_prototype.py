import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.defenses.atrdh import reconstruction
from cgat_jax.losses.prototype import circle_loss, prototype_loss
from cgat_jax.types import Bank
from tests import golden
from tests.losses import toy
from tests.reference import losses as reference

ROUNDING = 0.000377195718
_value = jax.jit(prototype_loss, static_argnames="triangle")
_value_and_gradient = jax.jit(
    jax.value_and_grad(prototype_loss), static_argnames="triangle"
)


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize(
    ("triangle", "circle"), [(True, 1.1467914459), (False, 1.3590546085)]
)
def test_golden_prototype_loss(x64, pad, triangle, circle):
    codes = np.pad(golden.CODES, ((0, pad), (0, 0)), constant_values=0.5)
    batch, bank = golden.batch(pad), golden.bank()
    bank = bank._replace(codes=jnp.sign(bank.codes))
    value, gradient = _value_and_gradient(
        jnp.array(codes), batch.labels, bank, batch.mask, triangle=triangle
    )
    assert value == pytest.approx(circle + ROUNDING, abs=1e-9)
    np.testing.assert_array_equal(gradient[4:], 0)


def test_golden_rounding_alone(x64):
    """Of no pairs the circle loss is 0: here the triangle leaves none."""
    batch, bank = golden.batch(), golden.bank()
    bank = Bank(jnp.sign(bank.codes[:1]), bank.labels[:1])
    value = _value(
        jnp.array(golden.CODES), batch.labels, bank, batch.mask, triangle=True
    )
    assert value == pytest.approx(ROUNDING, abs=1e-12)


def test_golden_reconstruction_with_a_bank_of_other_codes(x64):
    value = reconstruction(jnp.array(golden.CODES), golden.batch(), golden.bank())
    assert value == pytest.approx(0.9517394151, abs=1e-9)


@pytest.mark.parametrize("pad", [0, 3])
def test_reconstruction_equals_the_loop(rng, x64, pad):
    """Reference: mean over pairs of (u . u_j / K - (2S - 1))^2, the DPH of SAAT."""
    data = toy.random_toy(rng, bits=7)
    got = reconstruction(jnp.tanh(data.logits(pad)), data.batch(pad), data.bank())
    assert got == pytest.approx(reference.dph(*data[:4]), rel=1e-12)


@pytest.mark.parametrize("triangle", [True, False])
@pytest.mark.parametrize("pad", [0, 3])
def test_prototype_loss_equals_the_loop(rng, x64, triangle, pad):
    """Reference: log of sums of exponentials over lists of pairs."""
    data = toy.random_toy(rng, bits=7)
    data = data._replace(bank_codes=np.sign(data.bank_codes))
    batch = data.batch(pad)
    codes = jnp.tanh(data.logits(pad))
    got = _value(codes, batch.labels, data.bank(), batch.mask, triangle=triangle)
    expected = reference.prototype(*data[:4], triangle=triangle)
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("positive", [0.0, 1.0])
@pytest.mark.parametrize("considered", [0.0, 1.0])
def test_circle_of_one_group_or_none_is_finite(positive, considered):
    cosines = jnp.array([[-1.0, 0.0, 1.0]])
    flags = (jnp.full_like(cosines, x) for x in (positive, considered))
    value, gradient = jax.value_and_grad(circle_loss)(cosines, *flags)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    wanted = np.sign(considered * (0.5 - positive))
    np.testing.assert_array_equal(np.sign(gradient), np.full((1, 3), wanted))


def test_circle_by_hand():
    """One pair a group: -(2 - 0.5) 0.5 + (2 - 0.2) (-0.2) = -1.11."""
    value, gradient = jax.value_and_grad(circle_loss)(
        jnp.array([[0.5, -0.2]]), jnp.array([[1.0, 0.0]]), jnp.ones((1, 2))
    )
    assert value == pytest.approx(-1.11, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-1.5, 1.8]], rtol=1e-6)
