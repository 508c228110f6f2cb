"""On a GPU, what is no network is computed in full float32, not in TF32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cgat_jax.attacks import objectives
from cgat_jax.attacks.prosgan import make_targets
from cgat_jax.attacks.prototypes import train_prototypes
from cgat_jax.centers import center_codes, weighted_center_codes
from cgat_jax.losses import LOSSES, make_loss
from cgat_jax.losses.pairwise import make_dph
from cgat_jax.losses.prototype import classified_prototype_loss
from cgat_jax.losses.quantization import with_swdc
from cgat_jax.models.prototype import make_prototype_net
from cgat_jax.precision import full_precision
from cgat_jax.types import Bank, Batch, similarity
from tests.lowering import products

KEY = jax.random.key(0)
BATCH, SIZE, BITS, CLASSES = 5, 11, 8, 3
BANK = Bank(jnp.ones((SIZE, BITS)), jnp.ones((SIZE, CLASSES)))
CODES, LABELS, MASK = *(jnp.ones((BATCH, n)) for n in (BITS, CLASSES)), jnp.ones(BATCH)
MASK = MASK > 0


def _all_full(function, *arguments, **options):
    found = products(function, *arguments, **options)
    assert found and all(product.full for product in found), found
    return found


def test_the_default_is_less_and_the_helper_sees_it():
    """The control: so the tests below can fail."""
    plain = products(jnp.matmul, CODES, BANK.codes.T)
    assert [product.full for product in plain] == [False]
    _all_full(full_precision(jnp.matmul), CODES, BANK.codes.T)


def test_gradients_of_full_products_are_full():
    @jax.grad
    def gradient(codes):
        return (full_precision(jnp.matmul)(codes, BANK.codes.T) ** 2).sum()

    assert len(_all_full(gradient, CODES)) == 2


@pytest.mark.parametrize("binary", [True, False])
def test_center_codes(binary):
    _all_full(functools.partial(center_codes, binary=binary), LABELS, BANK)
    for weights in ("jaccard", "cosine"):
        make = functools.partial(weighted_center_codes, weights=weights, binary=binary)
        _all_full(make, LABELS, BANK)


def test_similarity():
    _all_full(similarity, LABELS, BANK.labels)


MAKERS = {
    **{name: functools.partial(make_loss, name, rule="multi") for name in LOSSES},
    **{f"{name}, by its factory": factory for name, factory in LOSSES.items()},
    "with_swdc": lambda: with_swdc(make_dph()),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_every_loss_and_its_gradient(make):
    loss = make()
    params, constants = loss.init(KEY, BANK)
    batch = Batch(
        images=jnp.zeros((BATCH, 1, 1, 3)),
        labels=LABELS,
        indices=jnp.arange(BATCH, dtype=jnp.int32),
        mask=MASK,
    )

    def value(params, logits):
        return loss.apply(params, constants, logits, batch, BANK, KEY)

    _all_full(jax.value_and_grad(value, argnums=(0, 1)), params, CODES)
    if loss.refresh:  # its solver cannot be lowered for a GPU without one
        _all_full(loss.refresh, constants, BANK, platform="cpu")


OBJECTIVES = {
    "sdha": lambda codes: objectives.sdha(codes, CODES, LABELS, BANK),
    "apgd_ap": lambda codes: objectives.relaxed_average_precision(codes, LABELS, BANK),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_of_attacks_and_their_gradients(name):
    gradient = jax.grad(lambda codes: OBJECTIVES[name](codes).sum())
    assert len(_all_full(gradient, CODES)) >= 2


@pytest.mark.parametrize("classifier", [True, False])
def test_prototype_networks_and_their_losses(classifier):
    network = make_prototype_net(BITS, classifier=classifier)
    params = jax.eval_shape(network.init, KEY, LABELS)

    def value(params):
        if classifier:
            codes, _, classes = network.outputs(params, LABELS)
            return classified_prototype_loss(codes, classes, LABELS, BANK)
        return network.apply(params, LABELS).sum()

    found = _all_full(jax.value_and_grad(value), params)
    assert len(found) >= (9 if classifier else 6)
    if classifier:
        _all_full(
            functools.partial(make_targets, label_sets=np.ones((2, CLASSES))), params
        )


def test_a_step_of_prototypes():
    network, tx = make_prototype_net(BITS), optax.identity()
    state = optax.EmptyState()
    params = jax.eval_shape(network.init, KEY, LABELS)

    def step(params):
        return train_prototypes(
            network, tx, (params, state), LABELS, BANK, MASK, triangle=True
        )

    assert len(_all_full(step, params)) > 10
