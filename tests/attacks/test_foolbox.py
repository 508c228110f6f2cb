"""The engine agrees with an attack library that we did not write."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.pgd import Budget, away_from_references, uniform_noise
from cgat_jax.models.layers.convolution import conv2d

foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
eagerpy = pytest.importorskip("eagerpy", reason="eagerpy is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("random_start", [False, True])
def test_sign_descent_equals_foolbox_linf_pgd(rng, x64, random_start):
    """Same loss, start, steps and ball; foolbox.attacks.LinfPGD on JAX arrays.

    In float64, where rounding does not turn the sign of a small gradient.
    """
    images = jnp.array(rng.random((6, 12, 12, 3)))
    centers = jnp.array(rng.choice([-1.0, 1.0], (6, 16)))
    kernel = jnp.array(rng.normal(size=(3, 3, 3, 8)))
    head = jnp.array(rng.normal(size=(800, 16)) / 20)
    keys = jax.random.split(jax.random.key(1), 6)
    budget = Budget(
        epsilon=8 / 255, step_size=2 / 255, steps=7, random_start=random_start
    )

    def encode(images, iteration):
        features = jax.nn.relu(conv2d(images, kernel))
        return features.reshape(len(images), -1) @ head

    class CenterPGD(foolbox.attacks.LinfPGD):
        def get_loss_fn(self, model, labels):
            def loss(x):
                codes = jnp.tanh(model(x.raw))
                return eagerpy.astensor(-(codes * centers).mean(axis=1).sum())

            return loss

        def get_random_start(self, x0, epsilon):
            return eagerpy.astensor(uniform_noise(x0.raw, keys, epsilon))

        def value_and_grad(self, loss_fn, x):
            def raw(x):
                return loss_fn(eagerpy.astensor(x)).raw

            value, gradient = jax.value_and_grad(raw)(x.raw)
            return eagerpy.astensor(value), eagerpy.astensor(gradient)

    wrapped = foolbox.models.JAXModel(lambda x: encode(x, 0), bounds=(0, 1))
    attack = CenterPGD(
        abs_stepsize=budget.step_size, steps=budget.steps, random_start=random_start
    )
    labels = jnp.zeros(6, jnp.int32)
    expected = attack.run(wrapped, images, labels, epsilon=budget.epsilon)
    found = away_from_references(budget)(encode, images, centers, keys)
    assert np.abs(found - images).max() > 0.03  # both moved
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
