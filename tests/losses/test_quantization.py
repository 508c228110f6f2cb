import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.losses import make_loss
from cgat_jax.losses.pairwise import make_dph
from cgat_jax.losses.quantization import swdc, with_swdc
from tests import golden
from tests.losses import toy
from tests.reference import losses as reference

ALL = jnp.ones(4, bool)


@pytest.mark.parametrize("pad", [0, 3])
def test_golden_swdc(x64, pad):
    """Padded rows hold codes and signs that would count, were they real."""
    rows, bits = np.arange(4)[:, None], np.arange(16)[None]
    signs = np.where((2 * rows + bits) % 3 != 0, 1.0, -1.0)
    codes = jnp.array(np.pad(golden.CODES, ((0, pad), (0, 0)), constant_values=-0.5))
    signs = jnp.array(np.pad(signs, ((0, pad), (0, 0)), constant_values=-1.0))
    value, gradient = jax.value_and_grad(swdc)(codes, signs, jnp.arange(4 + pad) < 4)
    assert value == pytest.approx(0.5997325804, abs=1e-9)
    assert jnp.linalg.norm(gradient) == pytest.approx(0.1936060079, abs=1e-9)
    np.testing.assert_array_equal(gradient[4:], 0)


def test_swdc_equals_the_sorted_columns(rng, x64):
    """Reference: Python's sort, column by column; two rows in between do not count."""
    codes = np.round(np.tanh(3 * rng.normal(size=(7, 5))), 1)
    signs = rng.choice([-1.0, 1.0], size=(7, 5))
    mask = np.array([1, 1, 0, 1, 0, 1, 1], bool)
    got = swdc(jnp.array(codes), jnp.array(signs), jnp.array(mask))
    assert got == pytest.approx(reference.swdc(codes[mask], signs[mask]), rel=1e-12)


def test_swdc_is_zero_for_any_order_of_the_signs(rng):
    signs = np.repeat([[1.0], [-1.0]], 2, axis=0) * np.ones((1, 6))
    codes = rng.permuted(signs, axis=0)
    assert (codes != signs).any()
    assert swdc(jnp.array(codes), jnp.array(signs), ALL) == 0


def test_swdc_grows_with_the_excess_of_one_sign():
    """Each code that has to change its sign costs 4."""
    balanced = jnp.array([[1.0], [1.0], [-1.0], [-1.0]])
    codes = jnp.array([[1.0], [1.0], [1.0], [-1.0]])
    assert swdc(codes, balanced, ALL) == 1
    assert swdc(jnp.ones((4, 1)), balanced, ALL) == 2


def test_no_pairing_of_codes_and_signs_is_closer_than_the_sorted(rng, x64):
    """The Wasserstein distance is the least over all pairings."""
    codes, signs = np.tanh(rng.normal(size=(4, 1))), rng.choice([-1.0, 1.0], (4, 1))
    least = swdc(jnp.array(codes), jnp.array(signs), ALL)
    for _ in range(30):
        assert least <= ((codes - rng.permutation(signs)) ** 2).mean() + 1e-12


def test_signs_follow_the_key(rng):
    data = toy.random_toy(rng)
    loss = with_swdc(make_dph())
    inputs = {}, {}, data.logits(), data.batch(), data.bank()
    value = jax.jit(loss.apply)
    first, same, other = (value(*inputs, jax.random.key(i)) for i in (0, 0, 1))
    assert first == same
    assert first != other


@pytest.mark.parametrize("real", [1, 2])
def test_an_image_alone_is_not_pulled_to_random_signs(rng, real):
    data = toy.random_toy(rng)
    batch = data.batch()._replace(mask=jnp.arange(toy.ROWS) < real)
    inputs = ({}, {}), data.logits(), batch, data.bank()
    plain, pulled = (
        toy.value_and_gradient(loss, *inputs)[1]
        for loss in (make_dph(), with_swdc(make_dph()))
    )
    assert np.allclose(plain, pulled, rtol=1e-5, atol=1e-8) == (real == 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "lost"),
    [("dsdh", {"quantization": 0.5}, 0.0), ("csq", {"rule": "single"}, 1e-4)],
)
def test_variants_add_a_tenth_of_swdc(rng, x64, name, settings, lost):
    """CSQ-C gives up the term of CSQ that pulls |u| to 1."""
    data, values = toy.random_toy(rng), {}
    for variant in (name, f"{name}_c"):
        loss = make_loss(variant, **settings)
        start = toy.tables(loss, data.bank())
        inputs = data.logits(), data.batch(), data.bank()
        values[variant], _ = toy.value_and_gradient(loss, start, *inputs)
    signs = jax.random.rademacher(toy.KEY, data.codes.shape, float)
    added = 0.1 * reference.swdc(data.codes, np.asarray(signs))
    added -= lost * ((np.abs(data.codes) - 1) ** 2).mean()
    assert values[f"{name}_c"] == pytest.approx(values[name] + added, rel=1e-12)
