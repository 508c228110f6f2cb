"""What every loss promises, whatever its formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.errors import InputError
from cgat_jax.losses import LOSSES, make_loss
from cgat_jax.losses.csq import make_csq
from cgat_jax.losses.pairwise import make_dpsh, make_hashnet
from tests.losses import toy

_ONE_ZERO_ROW = np.ones((toy.ROWS, 1))
_ONE_ZERO_ROW[1] = 0
LOGITS = {
    "zero": 0.0,
    "usual": 1.0,
    "a zero row": _ONE_ZERO_ROW,
    "saturated": 20.0,
    "huge": 1e4,
}
LABELS = {
    "none": np.zeros((toy.SIZE, toy.CLASSES)),
    "all": np.ones((toy.SIZE, toy.CLASSES)),
    "mixed": np.eye(toy.SIZE, toy.CLASSES),
}


@functools.cache
def _loss(name, **settings):
    return make_loss(name, **settings)


def _start(name, data):
    """A loss of the table, and (params, constants) for it."""
    loss = _loss(name)
    return loss, toy.tables(loss, data.bank())


def _float32(data):
    *arrays, index = data
    return toy.Toy(*(x.astype(np.float32) for x in arrays), index)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", LOGITS)
@pytest.mark.parametrize("kind", LABELS)
def test_losses_are_finite_at_the_nasty_points(rng, name, size, kind):
    """Zero and saturated codes; no pair similar, all pairs similar."""
    data = toy.random_toy(rng)
    labels = LABELS[kind]
    data = _float32(data._replace(labels=labels[data.index], bank_labels=labels))
    loss, start = _start(name, data)
    logits = data.logits() * jnp.array(LOGITS[size], jnp.float32)
    bank = data.bank().record(data.batch(), jnp.tanh(logits))
    got, gradient = toy.value_and_gradient(loss, start, logits, data.batch(), bank)
    assert np.isfinite(got) and np.isfinite(gradient).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_padded_rows_change_nothing(rng, name):
    """Of the -C variants the value differs: they draw a sign for each padded row."""
    data = _float32(toy.random_toy(rng))
    loss, start = _start(name, data)
    bank = data.bank()
    value, gradient = toy.value_and_gradient(
        loss, start, data.logits(), data.batch(), bank
    )
    padded, padded_gradient = toy.value_and_gradient(
        loss, start, data.logits(3), data.batch(3), bank
    )
    np.testing.assert_array_equal(padded_gradient[toy.ROWS :], 0)
    if not name.endswith("_c"):
        assert padded == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(
            padded_gradient[: toy.ROWS], gradient, rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize("name", LOSSES)
def test_the_bank_is_a_constant_of_the_loss(rng, name):
    data = _float32(toy.random_toy(rng))
    loss, start = _start(name, data)
    inputs = data.logits(), data.batch(), data.bank()
    for gradient in toy.bank_gradient(loss, start, *inputs):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_one_real_row_is_finite(rng, name):
    """The last batch of an epoch may be that."""
    data = _float32(toy.random_toy(rng))
    loss, start = _start(name, data)
    batch = data.batch()
    batch = batch._replace(
        labels=batch.labels.at[1:].set(0.0),
        indices=batch.indices.at[1:].set(toy.SIZE),
        mask=jnp.arange(toy.ROWS) < 1,
    )
    value, gradient = toy.value_and_gradient(
        loss, start, data.logits(), batch, data.bank()
    )
    assert np.isfinite(value) and np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[1:], 0)


@pytest.mark.parametrize("name", LOSSES)
def test_tables_keep_their_shapes_and_types(rng, name):
    """The state of a run keeps its structure over an epoch's refresh."""
    data = _float32(toy.random_toy(rng))
    loss = _loss(name)
    _, fresh = loss.init(toy.KEY, data.bank())
    _, refreshed = toy.tables(loss, data.bank())
    assert jax.tree.map(jax.typeof, fresh) == jax.tree.map(jax.typeof, refreshed)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("dpsh", {"eta": 0.5}),
        ("dpsh", {"eta_form": "sum"}),
        ("dsdh", {"quantization": 0.5}),
        ("csq", {"rule": "single"}),
    ],
)
def test_a_setting_reaches_its_loss(rng, name, setting):
    data = _float32(toy.random_toy(rng))
    values = []
    for settings in ({}, setting):
        loss = _loss(name, **settings)
        start = toy.tables(loss, data.bank())
        inputs = data.logits(), data.batch(), data.bank()
        values.append(toy.value_and_gradient(loss, start, *inputs)[0])
    assert values[0] != values[1]


def test_losses_of_pairs_within_the_batch_need_two_rows():
    least = {name: _loss(name).min_batch for name in LOSSES}
    assert least == dict.fromkeys(LOSSES, 1) | {"dch": 2, "dsdh_c": 2, "csq_c": 2}


@pytest.mark.parametrize(
    ("make", "option", "word", "meant"),
    [
        (make_csq, "rule", "singel", "single"),
        (make_dpsh, "eta_form", "SUM", "sum"),
        (make_hashnet, "unseen", "disimilar", "dissimilar"),
    ],
)
def test_a_misspelled_word_of_an_option_is_refused(make, option, word, meant):
    with pytest.raises(InputError, match=f"unknown {option} '{word}'.*'{meant}'"):
        make(**{option: word})


@pytest.mark.parametrize("name", LOSSES)
def test_an_option_of_another_loss_must_have_its_default(name):
    """It was left out in silence: "csq" with quantization=0.05 had 1e-4."""
    make_loss(name, eta=0.001, rule="multi", quantization=0.0, continuation=False)
    changed = {"eta": 0.5} if name != "dpsh" else {"quantization": 0.05}
    message = f"{'='.join(map(str, *changed.items()))} is not used by {name}: leave"
    with pytest.raises(InputError, match=message):
        make_loss(name, **changed)


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown loss 'hasnet'.*did you mean 'hashnet'"
    ):
        make_loss("hasnet")
