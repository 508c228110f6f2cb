import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgat_jax.models.layers.convolution import conv2d, max_pool

P0, P1, P2 = ((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 2), (2, 2))
# Input (H, W, I), kernel (h, w, O), strides, padding.
CONVS = {
    "alexnet 1": ((224, 224, 3), (11, 11, 64), (4, 4), P2),
    "alexnet 2": ((27, 27, 64), (5, 5, 192), (1, 1), P2),
    "alexnet 4": ((13, 13, 384), (3, 3, 256), (1, 1), P1),
    "vgg 1": ((224, 224, 3), (3, 3, 64), (1, 1), P1),
    "vgg 2": ((56, 56, 64), (3, 3, 128), (1, 1), P1),
    "vgg 8": ((14, 14, 512), (3, 3, 512), (1, 1), P1),
    "small 1": ((48, 48, 3), (3, 3, 32), (2, 2), P1),
    "small 4": ((3, 3, 96), (3, 3, 192), (1, 1), P1),
    "odd": ((23, 19, 3), (11, 11, 8), (4, 4), P2),
    "few channels, no padding": ((13, 10, 4), (5, 2, 6), (1, 1), P0),
    "uneven": ((12, 13, 6), (3, 2, 5), (2, 1), ((0, 1), (2, 0))),
    "skips pixels": ((11, 12, 6), (2, 1, 5), (5, 3), P0),
    "wide padding": ((7, 6, 5), (2, 2, 4), (1, 1), ((3, 2), (2, 4))),
    "wide padding, strided": ((7, 6, 3), (3, 3, 4), (2, 2), ((4, 4), (3, 4))),
}
TOLERANCE = {jnp.float32: 2e-5, jnp.float64: 1e-13}


def relative_error(result, reference):
    return float(jnp.abs(result - reference).max() / jnp.abs(reference).max())


def value_and_gradients(impl, case, dtype, loop=False):
    size, (height, width, outputs), strides, padding = CONVS[case]
    rng = np.random.default_rng(0)
    x = jnp.array(rng.normal(size=(2, *size)), dtype)
    kernel = jnp.array(rng.normal(size=(height, width, size[-1], outputs)), dtype)

    def objective(x, kernel):
        y = conv2d(x, kernel, strides=strides, padding=padding, impl=impl)
        return (y**2).mean(), y

    def run(x, kernel):
        gradients, y = jax.grad(objective, (0, 1), has_aux=True)(x, kernel)
        return y, *gradients

    def run_in_loop(x, kernel):
        like = jax.tree.map(jnp.zeros_like, jax.eval_shape(run, x, kernel))
        return jax.lax.fori_loop(0, 2, lambda _, last: run(x, kernel), like)

    return jax.jit(run_in_loop if loop else run)(x, kernel)


@pytest.mark.parametrize("case", CONVS)
def test_cpu_convolution_equals_lax(case):
    """Reference: ``lax.conv_general_dilated`` and the gradients that JAX derives."""
    reference = value_and_gradients("xla", case, jnp.float32)
    result = value_and_gradients("cpu", case, jnp.float32)
    for ours, theirs in zip(result, reference, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE[jnp.float32]


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CONVS)[6:])
def test_cpu_convolution_equals_lax_in_double_precision(case, x64):
    reference = value_and_gradients("xla", case, jnp.float64)
    result = value_and_gradients("cpu", case, jnp.float64, loop=True)
    for ours, theirs in zip(result, reference, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE[jnp.float64]


@pytest.mark.parametrize("case", ["alexnet 1", "alexnet 4", "small 1", "odd", "uneven"])
def test_cpu_convolution_in_a_loop(case):
    reference = value_and_gradients("xla", case, jnp.float32)
    result = value_and_gradients("cpu", case, jnp.float32, loop=True)
    for ours, theirs in zip(result, reference, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE[jnp.float32]


@pytest.mark.parametrize("loop", [False, True])
def test_input_gradient_alone_skips_the_weight_gradient(loop):
    """Forward and input gradient are two convolutions; the third is not compiled."""
    x, kernel = jnp.ones((2, 9, 9, 16)), jnp.ones((3, 3, 16, 32))

    def objective(x, kernel):
        return (conv2d(x, kernel, padding=P1, impl="cpu") ** 2).sum()

    def attack(x, kernel):
        def ascend(_, x):
            return x + jax.grad(objective)(x, kernel)

        return jax.lax.fori_loop(0, 3, ascend, x) if loop else ascend(0, x)

    def count(function):
        text = jax.jit(function).lower(x, kernel).compile().as_text()
        return sum(" convolution(" in line for line in text.splitlines())

    assert count(jax.grad(objective, (0, 1))) == 3
    assert count(attack) == 2


@pytest.mark.slow
def test_convolution_batches_under_vmap(rng):
    x = jnp.array(rng.normal(size=(3, 1, 8, 8, 3)), jnp.float32)
    kernel = jnp.array(rng.normal(size=(3, 3, 3, 4)), jnp.float32)

    def objective(x, impl):
        y = conv2d(x, kernel, strides=(2, 2), padding=P1, impl=impl)
        return (y**2).sum()

    ours, theirs = (
        jax.vmap(jax.grad(lambda x, impl=impl: objective(x, impl)))(x)
        for impl in ("cpu", "xla")
    )
    assert relative_error(ours, theirs) < TOLERANCE[jnp.float32]


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def pooled_and_gradient(impl, x, window, strides):
    def objective(x):
        y = max_pool(x, window, strides, impl=impl)
        weights = jnp.arange(1.0, y.size + 1, dtype=x.dtype).reshape(y.shape)
        return (weights * y).sum(), y

    gradient, y = jax.grad(objective, has_aux=True)(x)
    return y, gradient


@pytest.mark.slow
@pytest.mark.parametrize("window, strides", [((2, 2), (2, 2)), ((3, 3), (2, 2))])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([(5, 6), (7, 4)]))
def test_pooling_of_ties_equals_reduce_window(window, strides, seed, size):
    """Few distinct values: most windows have ties, and the first maximum must win."""
    values = np.random.default_rng(seed).integers(-1, 2, size=(1, *size, 2))
    x = jnp.array(values, jnp.float32)
    ours, theirs = (
        pooled_and_gradient(impl, x, window, strides) for impl in ("cpu", "xla")
    )
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_pooling_by_hand():
    x = jnp.array([[3.0, 3.0, 9.0], [1.0, 3.0, 9.0]]).reshape(1, 2, 3, 1)
    y, gradient = pooled_and_gradient("cpu", x, (2, 2), (2, 2))
    np.testing.assert_array_equal(y.ravel(), [3.0])
    np.testing.assert_array_equal(gradient.ravel(), [1, 0, 0, 0, 0, 0])


def test_an_unknown_impl_is_named():
    x = jnp.ones((1, 4, 4, 1))
    with pytest.raises(ValueError, match="'gpu'.*known"):
        max_pool(x, (2, 2), (2, 2), impl="gpu")
