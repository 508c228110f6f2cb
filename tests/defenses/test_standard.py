"""The steps without an adversary: two of each against NumPy, padding included."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.config import Training
from cgat_jax.defenses import make_classification_step, make_standard_step
from cgat_jax.losses import make_hashnet
from cgat_jax.training.optimizer import make_optimizer
from tests.defenses import toy
from tests.reference import losses

RATE = 0.5
TX = make_optimizer(Training(), lambda step: RATE)
PIXELS, LABELS = toy.IMAGES[toy.ROWS].reshape(4, -1), toy.LABELS[toy.ROWS]


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _hashnet(params, bank, scale):
    """Reference: the loss, and its slopes by the chain rule; the bank is a constant.

    The bank has the batch's codes before either is computed.
    """
    codes = np.tanh(scale * (PIXELS @ params["weights"] + params["bias"]))
    bank[toy.ROWS] = codes
    value = losses.hashnet(codes, LABELS, bank, toy.LABELS)
    similar = LABELS @ toy.LABELS.T > 0
    share = np.where(similar, 1 / similar.sum(), 1 / (~similar).sum())
    slopes = share * (_sigmoid(0.1 * codes @ bank.T) - similar)
    return value, 0.1 * slopes @ bank * (1 - codes**2) * scale


def _entropy(params):
    """Reference: -log of what each class was given, averaged, and its slopes."""
    chances = _sigmoid(PIXELS @ params["weights"] + params["bias"])
    right = np.where(LABELS > 0, chances, 1 - chances)
    return -np.log(right).mean(), (chances - LABELS) / LABELS.size


def _descend(params, momenta, slopes):
    """SGD in place: of the outputs' slopes, with momentum 0.9 and decay 5e-4."""
    gradients = {"weights": PIXELS.T @ slopes, "bias": slopes.sum(axis=0)}
    for name, gradient in gradients.items():
        momenta[name] *= 0.9
        momenta[name] += gradient + 5e-4 * params[name]
        params[name] -= RATE * momenta[name]


def _start(outputs):
    """A state of so many outputs; the same parameters in NumPy, and no momenta."""
    weights, bias = toy.WEIGHTS[:, :outputs], np.zeros(outputs, np.float32)
    params = {"weights": weights.astype(float), "bias": bias.astype(float)}
    net = {"model": {"weights": jnp.array(weights), "bias": jnp.array(bias)}}
    net |= {"loss": {}}
    state = toy.state(TX)._replace(params=net, opt_state=TX.init(net))
    return state, params, jax.tree.map(np.zeros_like, params)


def _close(one, other):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, other
    )


def test_pretraining_is_numpys_where_the_scale_of_hashnet_changes():
    """It is that of the step: 1 until step 199, and the square root of 2 from 200."""
    loss = make_hashnet(continuation=True)
    step = toy.jit(make_standard_step(toy.linear_model(), loss, TX))
    state, params, momenta = _start(8)
    state, bank = state._replace(step=jnp.array(199)), np.array(state.bank.codes, float)
    for scale in (1.0, math.sqrt(2)):
        state, metrics = step(state, toy.batch(pad=2), jax.random.key(0))
        value, slopes = _hashnet(params, bank, scale)
        _descend(params, momenta, slopes)
        assert metrics["loss"] == pytest.approx(value, rel=1e-5)
        _close(state.params["model"], params)
        _close(state.bank.codes, bank)
    assert int(state.step) == 201


def test_the_backbones_start_is_numpys_and_leaves_the_bank_alone():
    step = toy.jit(make_classification_step(toy.linear_model(), TX))
    state, params, momenta = _start(LABELS.shape[1])
    codes = np.array(state.bank.codes)
    for _ in range(2):
        state, metrics = step(state, toy.batch(pad=2), jax.random.key(0))
        value, slopes = _entropy(params)
        _descend(params, momenta, slopes)
        assert metrics["loss"] == pytest.approx(value, rel=1e-5)
        _close(state.params["model"], params)
    np.testing.assert_array_equal(state.bank.codes, codes)
