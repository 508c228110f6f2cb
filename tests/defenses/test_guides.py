"""The codes that each defense moves away from and pulls to, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.config import Defense
from cgat_jax.defenses import atrdh
from cgat_jax.defenses.atrdh import make_atrdh_step, start_atrdh
from cgat_jax.defenses.cgat import make_at_self_step, make_cgat_step
from cgat_jax.defenses.saat import make_saat_step
from cgat_jax.losses.pairwise import make_dpsh
from cgat_jax.training.optimizer import make_optimizer
from tests.defenses import toy
from tests.reference.losses import dpsh

BANK = np.random.default_rng(3).uniform(-1, 1, (8, 8)).astype(np.float32)


def _weight(label, other, kind):
    shared = (label * other).sum()
    if kind == "equal" or shared == 0:
        return float(shared > 0)
    if kind == "jaccard":
        return shared / np.maximum(label, other).sum()
    return shared / np.sqrt(label.sum() * other.sum())


def _center(label, codes, kind):
    """The paper's weighted means, by a loop over the bank."""
    near, far = np.zeros((2, codes.shape[1]))
    weight, count = 0.0, 0
    for code, other in zip(codes, toy.LABELS, strict=True):
        w = _weight(label, other, kind)
        near, weight = near + w * code, weight + w
        far, count = far + (w == 0) * code, count + (w == 0)
    if kind == "equal" and not weight:
        return np.zeros(codes.shape[1])
    return np.sign(near / (weight or 1) - far / (count or 1))


def _unchanged(images):
    return images


def _halved(images):
    return images / 2


def _run(make, settings, *, craft=_unchanged, **state_changes):
    """What the attack of a step was given, and the step's metrics and state.

    The attack makes ``craft(images)``.
    """
    seen = {}

    def attack(encode, images, references, keys):
        seen["references"] = np.asarray(references)
        return craft(images)

    tx = make_optimizer(settings, lambda step: 0.01)
    bank = toy.state(tx).bank._replace(codes=jnp.array(BANK))
    state = toy.state(tx)._replace(**{"bank": bank} | state_changes)
    step = make(toy.linear_model(), make_dpsh(), attack, tx, settings)
    new, metrics = step(state, toy.batch(), jax.random.key(0))
    return seen["references"], metrics, new


def _bank(signs: bool):
    """The bank before the step, and after: relaxed codes or signs at the batch."""
    after, codes = BANK.copy(), toy.clean_codes()[toy.ROWS]
    after[toy.ROWS] = np.sign(codes) if signs else codes
    return BANK, after


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["equal", "jaccard", "cosine"])
def test_cgat_moves_away_from_the_old_centers_and_pulls_to_the_new(kind):
    references, metrics, _ = _run(make_cgat_step, Defense(centers=kind))
    before, after = _bank(signs=False)
    old, new = (
        np.array([_center(toy.LABELS[row], codes, kind) for row in toy.ROWS])
        for codes in (before, after)
    )
    np.testing.assert_array_equal(references, old)
    agreement = (toy.clean_codes()[toy.ROWS] * new).mean()
    assert metrics["loss/robust"] == pytest.approx(-agreement, abs=1e-6)


@pytest.mark.slow
def test_saat_pulls_to_mainstay_codes_that_see_the_batch_as_signs():
    references, metrics, _ = _run(make_saat_step, Defense(name="saat"))
    before, after = _bank(signs=True)
    for codes, value in ((before, references), (after, None)):
        expected = [_center(toy.LABELS[row], codes, "cosine") for row in toy.ROWS]
        if value is not None:
            np.testing.assert_array_equal(value, expected)
    agreement = (toy.clean_codes()[toy.ROWS] * np.array(expected)).mean()
    assert metrics["loss/robust"] == pytest.approx(-agreement, abs=1e-6)


def test_at_self_has_the_own_clean_code():
    references, metrics, _ = _run(make_at_self_step, Defense(name="at_self"))
    codes = toy.clean_codes()[toy.ROWS]
    np.testing.assert_array_equal(references, np.sign(codes))
    assert metrics["loss/robust"] == pytest.approx(-np.abs(codes).mean(), abs=1e-6)


def _halved_codes():
    return np.tanh(toy.IMAGES[toy.ROWS].reshape(4, -1) / 2 @ toy.WEIGHTS)


def test_the_terms_besides_are_of_adversarial_codes_and_of_their_way_from_the_clean():
    """Reference: the objective in NumPy, on images that the attack has halved."""
    options = {"weight": 3.0, "quantization": 2.0, "consistency": 5.0}
    settings = Defense(name="at_self", **options)
    _, metrics, _ = _run(make_at_self_step, settings, craft=_halved)
    robust, clean = _halved_codes(), toy.clean_codes()[toy.ROWS]
    after = _bank(signs=False)[1]
    expected = dpsh(clean, toy.LABELS[toy.ROWS], after, toy.LABELS, eta=0.001)
    assert metrics["loss/clean"] == pytest.approx(expected, rel=1e-5)
    expected -= 3 * (robust * np.sign(clean)).mean()
    expected += 2 * ((robust - np.sign(robust)) ** 2).mean()
    expected += 5 * ((robust - clean) ** 2).mean()
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_adversarial_and_clean_codes_are_both_learned_from():
    """Reference: the gradient of that objective by the chain rule, in NumPy.

    All its means are over 4 x 8: the batch's pairs with the bank, or its bits.
    """
    options = {"weight": 3.0, "quantization": 2.0, "consistency": 5.0}
    settings = Defense(name="at_self", weight_decay=0.0, **options)
    new = _run(make_at_self_step, settings, craft=_halved)[2]
    robust, clean = _halved_codes(), toy.clean_codes()[toy.ROWS]
    after, similar = _bank(signs=False)[1], toy.LABELS[toy.ROWS] @ toy.LABELS.T > 0
    way = 10 * (robust - clean)
    pulled = way + 4 * (robust - np.sign(robust)) - 3 * np.sign(clean)
    chances = 1 / (1 + np.exp(-clean @ after.T / 2))
    learned = (chances - similar) @ after / 2 + 0.002 * (clean - np.sign(clean)) - way
    slopes = pulled * (1 - robust**2) / 2 + learned * (1 - clean**2)  # of half pixels
    gradient = toy.IMAGES[toy.ROWS].reshape(4, -1).T @ slopes / 32
    moved = toy.WEIGHTS - np.asarray(new.params["model"]["weights"])
    np.testing.assert_allclose(moved / 0.01, gradient, rtol=1e-3, atol=2e-5)


def _atrdh(*, craft=_unchanged, **changes):
    settings = Defense(name="atrdh", **changes)

    def make(model, loss, attack, tx, settings):
        return make_atrdh_step(model, loss, attack, tx, settings, 10)

    tx = make_optimizer(settings, lambda step: 0.01)
    state = start_atrdh(jax.random.key(0), toy.state(tx), settings, toy.LABELS)
    changes = {"extra": state.extra, "bank": state.bank}
    return state, *_run(make, settings, craft=craft, **changes)


@pytest.mark.slow
def test_atrdh_starts_with_a_zero_bank_and_the_unique_labels_of_the_database():
    state, *_ = _atrdh()
    np.testing.assert_array_equal(state.bank.codes, 0)
    np.testing.assert_array_equal(state.extra["codes"], np.sign(toy.clean_codes()))
    assert {tuple(row) for row in np.asarray(state.extra["targets"])} == {
        tuple(row) for row in toy.LABELS
    }


@pytest.mark.slow
def test_atrdhs_targets_are_drawn_apart_from_the_attacks_starts(monkeypatch):
    """``split(key)[0]`` is ``fold_in(key, 0)``: a key is split or folded, not both."""
    seen = {}

    def drawn(key, targets, count):
        seen["targets"] = key
        return targets[:count]

    def attack(encode, images, references, keys):
        seen["attack"] = keys
        return images

    monkeypatch.setattr(atrdh, "_drawn", drawn)
    settings = Defense(name="atrdh")
    tx = make_optimizer(settings, lambda step: 0.01)
    state = start_atrdh(jax.random.key(0), toy.state(tx), settings, toy.LABELS)
    parts = toy.linear_model(), make_dpsh(), attack, tx, settings, 10
    make_atrdh_step(*parts)(state, toy.batch(), jax.random.key(0))
    own = jax.random.key_data(seen["targets"])
    assert not (jax.random.key_data(seen["attack"]) == own[None]).all(axis=1).any()


def _prototype_signs(params, labels):
    """Reference: the prototype network in NumPy; its tanh changes no sign."""
    x = np.asarray(labels)
    for name in ("fc1", "features", "head"):
        x = x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])
        x = np.maximum(x, 0) if name == "fc1" else x
    return np.sign(x)


def test_atrdh_moves_images_towards_the_codes_of_label_sets_that_it_draws(monkeypatch):
    """The attack moves away from what it is given: minus the codes of the goals."""
    drawn, draw = [], atrdh._drawn

    def noted(key, targets, count):
        drawn.append(draw(key, targets, count))
        return drawn[-1]

    monkeypatch.setattr(atrdh, "_drawn", noted)
    state, references, *_ = _atrdh()
    goals, own = (
        _prototype_signs(state.extra["prototype"], labels)
        for labels in (drawn[0], toy.LABELS[toy.ROWS])
    )
    np.testing.assert_array_equal(references, -goals)
    assert (goals != own).any() and len(drawn) == 1


def test_atrdh_draws_label_sets_with_replacement_and_each_as_often():
    """Each of 5 is drawn 200 times of 1000 on average, 13 being the deviation."""
    counts = atrdh._drawn(jax.random.key(0), jnp.eye(5), 1000).sum(axis=0)
    assert counts.sum() == 1000 and (abs(counts - 200) < 60).all()


def test_atrdh_rebuilds_the_similarities_from_adversarial_codes():
    """Reference: the sum over pairs, in NumPy, with the batch in the zero bank."""
    _, _, metrics, new = _atrdh(craft=_halved)
    bank, codes = np.zeros((8, 8)), _halved_codes()
    bank[toy.ROWS] = toy.clean_codes()[toy.ROWS]
    errors = [
        (code @ other / 8 - (1 if (label * toy.LABELS[j]).sum() else -1)) ** 2
        for code, label in zip(codes, toy.LABELS[toy.ROWS], strict=True)
        for j, other in enumerate(bank)
    ]
    assert metrics["loss/robust"] == pytest.approx(np.mean(errors), rel=1e-5)
    np.testing.assert_allclose(new.bank.codes, bank, atol=1e-6)


def test_atrdh_trains_its_prototype_network_on_the_new_signs():
    state, _, metrics, new = _atrdh()
    np.testing.assert_array_equal(
        new.extra["codes"][toy.ROWS], np.sign(toy.clean_codes()[toy.ROWS])
    )
    assert np.isfinite(metrics["loss/prototype"])
    before, after = (s.extra["prototype"]["head"]["kernel"] for s in (state, new))
    # Adam's first step is the learning rate, in the direction of the sign.
    assert jnp.abs(after - before).max() == pytest.approx(1e-4, rel=0.01)


@pytest.mark.slow
def test_the_prototype_loss_falls_while_atrdh_trains():
    settings = Defense(name="atrdh", epochs=30)
    tx = make_optimizer(settings, lambda step: 0.01)
    state = start_atrdh(jax.random.key(0), toy.state(tx), settings, toy.LABELS)

    def still(encode, images, references, keys):
        return images

    model = toy.linear_model()
    step = toy.jit(make_atrdh_step(model, make_dpsh(), still, tx, settings, 10))
    losses = []
    for _ in range(60):
        state, metrics = step(state, toy.batch(), jax.random.key(0))
        losses.append(float(metrics["loss/prototype"]))
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
