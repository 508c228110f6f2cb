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


def _run(make, settings, **state_changes):
    """Metrics of a step whose attack leaves the images alone, and what it was given."""
    seen = {}

    def attack(encode, images, references, keys):
        seen["references"] = np.asarray(references)
        return images

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


def _atrdh(**changes):
    settings = Defense(name="atrdh", **changes)

    def make(model, loss, attack, tx, settings):
        return make_atrdh_step(model, loss, attack, tx, settings, 10)

    tx = make_optimizer(settings, lambda step: 0.01)
    state = start_atrdh(jax.random.key(0), toy.state(tx), settings, toy.LABELS)
    changes = {"extra": state.extra, "bank": state.bank}
    return state, *_run(make, settings, **changes)


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


def test_atrdh_rebuilds_the_similarities_from_adversarial_codes():
    """Reference: the sum over pairs, in NumPy, with the batch in the zero bank."""
    _, references, metrics, new = _atrdh()
    assert set(np.unique(references)) == {-1.0, 1.0}
    bank, codes = np.zeros((8, 8)), toy.clean_codes()[toy.ROWS]
    bank[toy.ROWS] = codes
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
