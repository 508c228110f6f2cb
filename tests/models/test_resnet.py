"""Batch normalization, alone and in ResNets."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgat_jax.models import make_model
from cgat_jax.models.layers.blocks import BatchNorm

KEY = jax.random.key(0)


def normalized(x, mask, mean, var, scale, bias):
    """Reference: the definition, on the real rows alone, in NumPy."""
    values = x[mask].reshape(-1, x.shape[-1])
    batch = (x - values.mean(0)) / np.sqrt(values.var(0) + 1e-5) * scale + bias
    unbiased = values.var(0, ddof=1)
    return batch, 0.9 * mean + 0.1 * values.mean(0), 0.9 * var + 0.1 * unbiased


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), real=st.integers(1, 4))
def test_training_normalizes_by_the_real_rows(seed, real):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, size=(4, 3, 2, 5))
    mask = rng.permutation(4) < real
    x[~mask] = rng.choice([0.0, 1e4])
    mean, bias = rng.normal(size=(2, 5))
    var, scale = rng.uniform(0.5, 2, size=(2, 5))
    variables = {
        "params": {"scale": jnp.float32(scale), "bias": jnp.float32(bias)},
        "batch_stats": {"mean": jnp.float32(mean), "var": jnp.float32(var)},
    }
    y, updated = BatchNorm().apply(
        variables, jnp.float32(x), True, jnp.array(mask), mutable="batch_stats"
    )
    expected, new_mean, new_var = normalized(x, mask, mean, var, scale, bias)
    np.testing.assert_allclose(y[mask], expected[mask], rtol=1e-4, atol=1e-4)
    moved = updated["batch_stats"]["mean"]  # a sum near 0 is as exact as its terms
    np.testing.assert_allclose(moved, new_mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["var"], new_var, rtol=1e-4)

    y = BatchNorm().apply(variables, jnp.float32(x[mask]), False)
    expected = (x[mask] - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_single_value_gives_the_bias():
    variables = BatchNorm().init(KEY, jnp.ones((1, 1, 1, 2)), False)
    y, updated = BatchNorm().apply(
        variables, jnp.full((1, 1, 1, 2), 7.0), True, mutable="batch_stats"
    )
    np.testing.assert_array_equal(y.ravel(), [0.0, 0.0])
    np.testing.assert_allclose(updated["batch_stats"]["mean"], [0.7, 0.7], rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], [0.9, 0.9], rtol=1e-6)


@pytest.mark.slow
def test_eight_devices_normalize_by_the_whole_batch():
    """The real rows lie on three devices of eight; the result is that of one."""
    script = """
import jax, jax.numpy as jnp, numpy as np
from cgat_jax import sharding
from cgat_jax.models.layers.blocks import BatchNorm
x = np.random.default_rng(0).normal(size=(16, 3, 3, 4)).astype(np.float32)
mask = np.arange(16) < 5
variables = BatchNorm().init(jax.random.key(0), x, False)
def run(x, mask):
    return BatchNorm().apply(variables, x, True, mask, mutable="batch_stats")
mesh = sharding.make_mesh()
rows = sharding.by_row(mesh)
split = jax.jit(run, in_shardings=(rows, rows))(*sharding.put_rows(mesh, (x, mask)))
for ours, one in zip(jax.tree.leaves(split), jax.tree.leaves(run(x, mask))):
    np.testing.assert_allclose(ours, one, rtol=1e-4, atol=1e-5)
print(jax.device_count())
"""
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "8"


def jit(function):
    """Compiled fast, and run slower."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def resnet():
    model = make_model("resnet18", outputs=8)
    network = jit(model.init)(KEY, jnp.zeros((1, 32, 32, 3)))
    return model, network


def images_of(rng, count, size=32):
    return jnp.array(rng.random((count, size, size, 3)), jnp.float32)


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn"])
@pytest.mark.parametrize("size", [32, 75, 224])
def test_sizes(name, size):
    model = make_model(name, outputs=8, dtype="bfloat16")
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    if name == "vgg11_bn" and size != 224:
        with pytest.raises(ValueError, match="224 x 224 pixels"):
            jax.eval_shape(model.init, KEY, images)
        return
    network = jax.eval_shape(model.init, KEY, images)
    for mode in ({}, {"key": KEY}):

        def run(network, images, mode=mode):
            return model.apply(*network, images, **mode)

        logits, stats = jax.eval_shape(run, network, images)
        assert logits.shape == (2, 8) and logits.dtype == jnp.float32
        assert jax.tree.map(jnp.shape, stats) == jax.tree.map(jnp.shape, network[1])


def test_tiny_images_are_refused():
    with pytest.raises(ValueError, match="at least 32 x 32 pixels, got 31 x 40"):
        make_model("resnet18", outputs=8).init(KEY, jnp.zeros((1, 31, 40, 3)))


@pytest.mark.long
def test_evaluation_treats_every_image_alone(resnet, rng):
    model, network = resnet
    images = images_of(rng, 3)
    apply = jit(lambda images: model.apply(*network, images))
    logits, stats = apply(images)
    alone, _ = apply(images[:1])
    np.testing.assert_allclose(logits[:1], alone, rtol=1e-4, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, stats, network[1])


@pytest.mark.long
def test_padded_rows_change_neither_logits_nor_statistics_nor_gradients(resnet, rng):
    """Not even where an objective counts the padded rows' logits in."""
    model, network = resnet
    images, mask = images_of(rng, 5), jnp.arange(5) < 3

    def objective(images, mask):
        logits, stats = model.apply(*network, images, key=KEY, mask=mask)
        return logits.sum(), (logits, stats)

    run = jit(jax.grad(objective, has_aux=True))
    exact, (logits, stats) = run(images[:3], None)
    padded, (padded_logits, padded_stats) = run(images, mask)
    np.testing.assert_allclose(padded_logits[:3], logits, rtol=1e-3, atol=1e-5)
    scale = np.abs(exact).max()
    np.testing.assert_allclose(padded[:3], exact, atol=1e-3 * scale)
    assert (padded[3:] == 0).all() and scale > 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        padded_stats,
        stats,
    )
