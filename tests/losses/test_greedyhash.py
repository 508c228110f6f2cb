import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.losses.greedyhash import make_greedyhash
from tests.losses import toy
from tests.reference import losses as reference


@pytest.mark.parametrize("train", [True, False])
def test_classifier_is_where_it_is_trained_or_kept(rng, train):
    loss = make_greedyhash(train_classifier=train)
    params, constants = loss.init(toy.KEY, toy.random_toy(rng).bank())
    table, empty = (params, constants) if train else (constants, params)
    assert empty == {}
    assert table["classifier"].shape == (toy.CLASSES, toy.BITS)
    assert 0 < jnp.abs(table["classifier"]).max() <= toy.BITS**-0.5


def test_gradient_passes_the_sign_straight(rng, x64):
    """Reference: softmax minus one-hot, times the classifier, by hand."""
    data = toy.random_toy(rng, bits=7)
    loss = make_greedyhash()
    start = toy.tables(loss, data.bank())
    inputs = data.logits(), data.batch(), data.bank()
    _, gradient = toy.value_and_gradient(loss, start, *inputs)
    classifier = np.asarray(start[0]["classifier"])
    expected = reference.greedyhash_gradient(
        data.codes, data.labels, classifier=classifier
    )
    expected *= 1 - data.codes**2
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-15)


def test_classifier_has_the_gradient_of_a_linear_one(rng, x64):
    """Reference: that of the cross-entropy, (softmax - one-hot)^T b / B."""
    data, loss = toy.random_toy(rng), make_greedyhash()
    params, constants = loss.init(toy.KEY, data.bank())
    inputs = data.logits(3), data.batch(3), data.bank(), toy.KEY
    gradient = jax.jit(jax.grad(loss.apply))(params, constants, *inputs)

    binary = np.sign(data.codes)
    chances = np.exp(binary @ np.asarray(params["classifier"]).T)
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(toy.ROWS), data.labels.argmax(axis=1)] -= 1
    expected = chances.T @ binary / toy.ROWS
    np.testing.assert_allclose(gradient["classifier"], expected, rtol=1e-9)


def test_penalty_is_all_that_tells_codes_of_the_same_signs_apart(rng, x64):
    data, loss = toy.random_toy(rng), make_greedyhash()
    start = toy.tables(loss, data.bank())
    signs = jnp.array(np.sign(data.codes))
    values = [
        toy.value_and_gradient(
            loss, start, jnp.arctanh(size * signs), data.batch(), data.bank()
        )[0]
        for size in (0.9, 0.4)
    ]
    assert values[1] - values[0] == pytest.approx(0.1 * (0.6**3 - 0.1**3), rel=1e-9)
