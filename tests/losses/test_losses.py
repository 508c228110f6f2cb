import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.config import Loss
from cgat_jax.losses import LOSSES, make_loss
from cgat_jax.losses.pairwise import make_dpsh
from cgat_jax.types import Bank, Batch
from tests import golden
from tests.reference import losses as reference

GOLDEN = {  # value, norm and first entry of the gradient with respect to the codes
    "dpsh": (make_dpsh(eta=0.001), 0.7854110896, 0.1414617739, -0.0079358937),
    "dpsh eta 0": (make_dpsh(eta=0.0), 0.7851753423, 0.1414969677, -0.0079279765),
}


def _value_and_gradient(loss, codes, batch, bank):
    params, constants = loss.init(jax.random.key(0))

    def value(codes):
        filled = bank.record(batch, jax.lax.stop_gradient(codes))
        return loss.apply(params, constants, codes, batch, filled)

    return jax.value_and_grad(value)(codes)


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("pad", [0, 3])
def test_golden_value_and_gradient(x64, name, pad):
    loss, value, norm, first = GOLDEN[name]
    codes = jnp.array(np.pad(golden.CODES, ((0, pad), (0, 0))))
    got, gradient = _value_and_gradient(loss, codes, golden.batch(pad), golden.bank())
    assert got == pytest.approx(value, abs=1e-9)
    assert jnp.linalg.norm(gradient) == pytest.approx(norm, abs=1e-9)
    assert gradient[0, 0] == pytest.approx(first, abs=1e-9)
    np.testing.assert_array_equal(gradient[4:], 0)


def test_dpsh_equals_the_pairwise_loop(rng, x64):
    codes, bank_codes = (
        np.tanh(rng.normal(size=(3, 5))),
        np.tanh(rng.normal(size=(7, 5))),
    )
    labels = jnp.array(rng.random((7, 4)) < 0.4, float)
    batch = Batch(jnp.zeros((3, 1, 1, 3)), labels[:3], jnp.arange(3), jnp.ones(3, bool))
    got, _ = _value_and_gradient(
        make_dpsh(eta=0.3), jnp.array(codes), batch, Bank(jnp.array(bank_codes), labels)
    )
    bank_codes[:3] = codes
    expected = reference.dpsh(codes, labels[:3], bank_codes, labels, 0.3)
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("labels", ["none", "all", "mixed"])
def test_losses_are_finite_at_the_nasty_points(rng, name, scale, labels):
    """Zero and saturated codes; no pair similar, all pairs similar."""
    codes = jnp.tanh(jnp.array(scale * rng.normal(size=(4, 8)), jnp.float32))
    table = {"none": np.zeros((6, 3)), "all": np.ones((6, 3)), "mixed": np.eye(6, 3)}
    bank_labels = jnp.array(table[labels], jnp.float32)
    batch = Batch(
        jnp.zeros((4, 1, 1, 3)), bank_labels[:4], jnp.arange(4), jnp.ones(4, bool)
    )
    bank = Bank(jnp.zeros((6, 8)), bank_labels)
    got, gradient = _value_and_gradient(make_loss(Loss(name=name)), codes, batch, bank)
    assert np.isfinite(got) and np.isfinite(gradient).all()


def test_the_bank_is_a_constant_of_the_loss():
    batch, bank = golden.batch(), golden.bank()
    bank = jax.tree.map(lambda x: x.astype(jnp.float32), bank)
    loss = make_dpsh()
    gradient = jax.grad(
        lambda codes: loss.apply(
            {}, {}, jnp.ones((4, 16)), batch, Bank(codes, bank.labels)
        )
    )(bank.codes)
    np.testing.assert_array_equal(gradient, 0)


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown loss 'dphs'.*did you mean 'dpsh'"):
        make_loss(Loss(name="dphs"))
