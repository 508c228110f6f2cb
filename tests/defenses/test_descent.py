import jax.numpy as jnp
import numpy as np
import optax

from cgat_jax.defenses.descent import descend, perturbed
from cgat_jax.types import Bank, TrainState


def test_weights_move_up_their_gradient_layer_by_layer():
    """Reference: the formula of the paper, one layer at a time."""
    params = {"a": jnp.array([[3.0, 4.0]]), "b": jnp.array([1.0, 2.0])}
    gradients = {"a": jnp.array([[0.0, 2.0]]), "b": jnp.array([5.0, 5.0])}
    moved = perturbed(params, gradients, 0.1)
    np.testing.assert_allclose(moved["a"], [[3.0, 4.0 + 0.1 * 5.0]])
    np.testing.assert_array_equal(moved["b"], params["b"])


def test_weights_without_a_gradient_stay():
    params = {"a": jnp.array([[3.0, 4.0]])}
    moved = perturbed(params, {"a": jnp.zeros((1, 2))}, 0.1)
    np.testing.assert_array_equal(moved["a"], params["a"])


def test_the_step_takes_the_gradient_at_the_perturbed_weights():
    """On |w|^2 / 2: g = w, so that w <- w - rate * (1 + gamma) * w."""
    params = {"model": jnp.array([[3.0, 4.0]]), "loss": {}}
    tx = optax.sgd(0.5)
    bank = Bank(jnp.zeros((2, 1)), jnp.zeros((2, 1)))
    state = TrainState(jnp.array(0), params, {}, {}, bank, tx.init(params))

    def objective(params):
        value = (params["model"] ** 2).sum() / 2
        return value, ({}, bank, {"loss": value})

    for gamma in (0.0, 0.2):
        new, metrics = descend(state, tx, objective, awp=gamma)
        expected = (1 - 0.5 * (1 + gamma)) * np.array([[3.0, 4.0]])
        np.testing.assert_allclose(new.params["model"], expected, rtol=1e-6)
        assert metrics["loss"] == 12.5  # of the unperturbed weights
