import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.losses import make_loss
from cgat_jax.losses.pairwise import make_dph, make_dpsh, make_hashnet
from cgat_jax.types import Bank, Batch
from tests.losses import toy


def _one_query(bank):
    """A batch of one image of class 0, whose code is 0.6 -0.2 0.1."""
    batch = Batch(
        images=jnp.zeros((1, 1, 1, 3)),
        labels=jnp.array([[1.0, 0.0]]),
        indices=jnp.array([0], jnp.int32),
        mask=jnp.ones(1, bool),
    )
    return jnp.arctanh(jnp.array([[0.6, -0.2, 0.1]])), batch, bank


def _bank(positives, negatives):
    labels = [[1.0, 0.0]] * len(positives) + [[0.0, 1.0]] * len(negatives)
    return Bank(jnp.array([*positives, *negatives]), jnp.array(labels))


NEAR, FAR = [0.5, 0.2, 0.9], [-0.4, 0.3, 0.8]


def test_dpsh_by_hand():
    """theta = 0.175 (similar) and -0.11 (not); errors 0.4, 0.8 and 0.9."""
    loss = make_dpsh(eta=0.1)
    value = loss.apply({}, {}, *_one_query(_bank([NEAR], [FAR])), toy.KEY)
    pairs = np.log1p(np.exp(0.175)) - 0.175 + np.log1p(np.exp(-0.11))
    rounding = 0.1 * (0.16 + 0.64 + 0.81) / 3
    assert value == pytest.approx(pairs / 2 + rounding, rel=1e-6)


def test_dph_is_zero_where_every_pair_is_as_wanted():
    code = [1.0, 1.0, -1.0]
    _, batch, bank = _one_query(_bank([code], [[-1.0, -1.0, 1.0]]))
    value = make_dph().apply({}, {}, 20 * jnp.array([code]), batch, bank, toy.KEY)
    assert value == 0


def test_hashnet_classes_of_pairs_weigh_equally():
    """More copies of the dissimilar images change nothing; DPSH they pull along."""
    few, many = _bank([NEAR], [FAR]), _bank([NEAR], [FAR] * 5)
    values = {
        name: [loss.apply({}, {}, *_one_query(bank), toy.KEY) for bank in (few, many)]
        for name, loss in (("hashnet", make_hashnet()), ("dpsh", make_dpsh()))
    }
    assert values["hashnet"][1] == pytest.approx(float(values["hashnet"][0]), rel=1e-6)
    assert values["dpsh"][1] != pytest.approx(float(values["dpsh"][0]), rel=1e-3)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (([NEAR], []), np.log1p(np.exp(0.035)) - 0.035),
        (([], [FAR]), np.log1p(np.exp(-0.022))),
    ],
)
def test_hashnet_group_without_pairs_adds_nothing(groups, expected):
    value = make_hashnet().apply({}, {}, *_one_query(_bank(*groups)), toy.KEY)
    assert value == pytest.approx(expected, rel=1e-6)


def _first_gradients(rng, seen):
    """Norms of HashNet's gradient, by what unseen pairs are, as training starts.

    Of 2,000 images a batch of 32 has its codes in the bank, or all have.
    """
    labels = jnp.array(np.eye(5)[np.arange(2_000) % 5], jnp.float32)
    logits = jnp.array(0.1 * rng.normal(size=(2_000, 16)), jnp.float32)
    codes = jnp.where(jnp.arange(2_000)[:, None] < seen, jnp.tanh(logits), 0.0)
    batch = Batch(
        images=jnp.zeros((32, 1, 1, 3)),
        labels=labels[:32],
        indices=jnp.arange(32, dtype=jnp.int32),
        mask=jnp.ones(32, bool),
    )
    return {
        unseen: jnp.linalg.norm(
            jax.grad(make_hashnet(unseen=unseen).apply, argnums=2)(
                {}, {}, logits[:32], batch, Bank(codes, labels), toy.KEY
            )
        )
        for unseen in ("labels", "dissimilar")
    }


@pytest.mark.slow
def test_hashnets_first_gradients_differ_by_what_unseen_pairs_are(rng):
    """Few pairs seen are similar: each weighs as much as all unseen similar ones."""
    norms = _first_gradients(rng, seen=32)
    assert norms["dissimilar"] > 20 * norms["labels"]


def test_hashnet_has_one_form_once_all_images_were_seen(rng):
    norms = _first_gradients(rng, seen=2_000)
    assert norms["dissimilar"] == norms["labels"] > 0


def test_unseen_reaches_hashnet():
    _, batch, bank = _one_query(_bank([NEAR, [0.0] * 3], [FAR]))
    logits = jnp.full((1, 3), 0.3)
    values = [
        make_loss("hashnet", unseen=unseen).apply({}, {}, logits, batch, bank, toy.KEY)
        for unseen in ("labels", "dissimilar")
    ]
    assert values[0] != values[1] and make_loss("hashnet").apply(
        {}, {}, logits, batch, bank, toy.KEY
    ) == pytest.approx(float(values[0]))


@pytest.mark.parametrize(
    ("step", "slope"), [(0, 1.0), (199, 1.0), (200, 2**0.5), (400, 3**0.5)]
)
def test_hashnet_grows_steeper_every_200_steps(step, slope):
    loss, logits = make_hashnet(continuation=True), jnp.array([[1.0, -2.0]])
    scaled = jax.jit(loss.scale)(logits, jnp.array(step))
    np.testing.assert_allclose(scaled, slope * np.asarray(logits), rtol=1e-6)


def test_without_continuation_logits_stay_as_they_are():
    logits = jnp.array([[1.0, -2.0]])
    for loss in (make_hashnet(), make_dpsh()):
        assert loss.tanh_scale is None
        assert loss.scale(logits, jnp.array(400)) is logits
