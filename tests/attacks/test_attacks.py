"""What every attack promises, and the sign descent's own arithmetic."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks import (
    ATTACKS,
    AttackContext,
    Budget,
    objectives,
    ordered_attacks,
)
from cgat_jax.attacks.pgd import (
    RELAXATIONS,
    away_from_references,
    relax,
    uniform_noise,
)
from cgat_jax.attacks.references import GENERATED, LABELS
from cgat_jax.config import Evaluate
from cgat_jax.config.fields import listed
from cgat_jax.errors import InputError
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.types import Bank, similarity

EPSILON = 8 / 255


@pytest.fixture
def problem():
    return _problem(jnp.float32)


def _problem(dtype):
    rng = np.random.default_rng(0)
    weights = jnp.array(rng.normal(size=(6, 75)) / 8, dtype)

    def encode(images, iteration):
        return images.reshape(len(images), -1) @ weights.T

    images = jnp.array(rng.random((5, 5, 5, 3)), dtype)
    images = images.at[0].set(0.0).at[1].set(1.0)  # at the ends of the pixel range
    references = jnp.array(rng.choice([-1.0, 1.0], (5, 6)), dtype)
    keys = jax.random.split(jax.random.key(3), 5)
    return encode, images, references, keys


# Those with a generator are in test_prosgan.
DESCENTS = [name for name, entry in ATTACKS.items() if entry.references != GENERATED]
BANK = Bank(
    jnp.array(np.random.default_rng(4).choice([-1.0, 1.0], (5, 6)), jnp.float32),
    jnp.array(np.eye(5, 6) + np.eye(5, 6, 1), jnp.float32),
)


def _make(name, **settings):
    """The attack with a bank of five codes; the signs of references serve as labels."""
    entry = ATTACKS[name]
    budget = {"epsilon": EPSILON, "steps": 20} | settings
    budget = dataclasses.replace(entry.budget, **budget)

    def run(encode, images, references, keys):
        bank = Bank(*(table.astype(images.dtype) for table in BANK))
        attack = entry.make(budget, AttackContext(bank))
        if entry.references == LABELS:
            references = (references > 0).astype(references.dtype)
        return attack(encode, images, references, keys)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", DESCENTS)
def test_the_result_is_in_the_ball_and_in_the_pixel_range(problem, name):
    moved = _make(name)(*problem)
    assert jnp.abs(moved - problem[1]).max() <= EPSILON + 1e-7
    assert moved.min() >= 0 and moved.max() <= 1


@pytest.mark.parametrize("name", DESCENTS)
def test_the_same_keys_give_the_same_images(problem, name):
    attack = _make(name)
    np.testing.assert_array_equal(attack(*problem), attack(*problem))


@pytest.mark.parametrize("name", DESCENTS)
def test_a_budget_of_zero_is_the_identity(problem, name):
    np.testing.assert_array_equal(_make(name, epsilon=0.0)(*problem), problem[1])


@pytest.mark.long
@pytest.mark.parametrize("name", DESCENTS)
def test_an_image_does_not_depend_on_its_batch(x64, name):
    """In float64: rounding, which does depend on it, decides nothing there."""
    problem = encode, images, references, keys = _problem(jnp.float64)
    attack = _make(name)
    whole = attack(*problem)
    for row in range(len(images)):
        one = np.s_[row : row + 1]
        alone = attack(encode, images[one], references[one], keys[one])
        np.testing.assert_allclose(alone[0], whole[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in DESCENTS if name != "noise"])
def test_zero_steps_without_a_random_start_are_the_identity(problem, name):
    attack = _make(name, steps=0, random_start=False)
    np.testing.assert_array_equal(attack(*problem), problem[1])


def test_what_folds_its_keys_draws_from_none_of_them(problem):
    """NAG draws a noise for the start, and others in each iteration."""
    moved = _make("nag", steps=0, random_start=True)(*problem)
    _, images, _, keys = problem
    first = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
    np.testing.assert_array_equal(moved, uniform_noise(images, first, EPSILON))
    assert (moved != uniform_noise(images, keys, EPSILON)).any()


def _objective(name, encode, images, references, own):
    """Of SDHA, whose weights jump where bits flip, what it is meant to lower."""
    codes = jnp.tanh(encode(images, 0))
    if name == "hag":
        return objectives.hag(codes, own)
    if name == "apgd_ap":
        labels = (references > 0).astype(jnp.float32)
        return objectives.relaxed_average_precision(codes, labels, BANK)
    if name == "sdha":
        relevant = similarity((references > 0).astype(jnp.float32), BANK.labels)
        return (relevant * (codes @ BANK.codes.T)).mean(axis=1)
    function = {
        "cgat": objectives.agreement,
        "square": objectives.agreement,
        "apgd": objectives.agreement,
        "apgd_opposite": objectives.agreement,
        "saat": objectives.masked_quadratic,
        "saat_targeted": objectives.masked_quadratic_targeted,
    }.get(name, objectives.disagreement)
    return function(codes, references)


@pytest.mark.parametrize("name", [name for name in DESCENTS if name != "noise"])
def test_an_attack_lowers_its_objective_below_what_noise_does(problem, name):
    encode, images, references, _ = problem
    own = jnp.tanh(encode(images, 0))
    values = [
        _objective(name, encode, _make(kind, alpha="one")(*problem), references, own)
        for kind in (name, "noise")
    ]
    assert values[0].mean() < values[1].mean() - 0.005


def test_the_papers_settings_are_the_defaults():
    """Columns of the table: iterations, step, random start, alpha."""
    expected = {
        "p2p": (2000, 1 / 255, False, "annealed"),
        "dhta": (2000, 1 / 255, False, "annealed"),
        "tha": (100, 1 / 255, False, "one"),
        "hag": (2000, 100 / 32, False, "annealed"),
        "sdha": (1500, 0.01, False, "annealed"),
        "saat": (100, 1 / 255, True, "annealed"),
        "cgat": (100, 1 / 255, True, "one"),
        "square": (5000, 1 / 255, True, "one"),
    }
    for name, row in expected.items():
        budget = budget_of(name, Evaluate())
        assert budget.epsilon == 8 / 255
        assert (
            budget.steps,
            budget.step_size,
            budget.random_start,
            budget.alpha,
        ) == row


def test_settings_and_presets_change_the_budget():
    assert budget_of("hag", Evaluate(preset="fast")).steps == 100
    assert budget_of("hag", Evaluate(preset="fast", steps=300)).steps == 300
    assert budget_of("hag", Evaluate(step_size=0.5)).step_size == 100 / 32
    assert budget_of("p2p", Evaluate(step_size=0.5)).step_size == 0.5
    for name, own in (("cgat", "tanh"), ("apgd", "unit")):
        assert budget_of(name, Evaluate()).relaxation == own
        for asked in ("logits", "tanh"):
            assert budget_of(name, Evaluate(surrogate=asked)).relaxation == asked
    with pytest.raises(ValueError, match="unknown preset 'fats'.*did you mean 'fast'"):
        budget_of("hag", Evaluate(preset="fats"))


@pytest.mark.parametrize(("name", "steps"), [("square", 5000), ("sdha", 1500)])
def test_a_preset_does_not_cut_what_needs_all_its_iterations(name, steps):
    assert budget_of(name, Evaluate(preset="fast")).steps == steps
    assert budget_of(name, Evaluate(preset="fast", steps=7)).steps == 7


@pytest.mark.parametrize(
    ("option", "word", "meant"),
    [("relaxation", "logit", "logits"), ("alpha", "anneal", "annealed")],
)
def test_a_misspelled_word_of_a_budget_is_refused(option, word, meant):
    with pytest.raises(InputError, match=f"unknown {option} '{word}'.*'{meant}'"):
        Budget(**{option: word})


def test_the_unit_relaxation_sees_no_scale(problem):
    encode, images, _, _ = problem
    logits = encode(images[1:], 0)
    unit = relax(logits, 0, Budget(relaxation="unit"))
    np.testing.assert_allclose(jnp.square(unit).sum(axis=1), 6, rtol=1e-5)
    scaled = relax(1e3 * logits, 0, Budget(relaxation="unit"))
    np.testing.assert_allclose(scaled, unit, rtol=1e-5)
    assert not relax(jnp.zeros((1, 6)), 0, Budget(relaxation="unit")).any()


@pytest.mark.parametrize("power", [-66, -20, 0, 66, 80])
def test_the_unit_relaxation_and_its_gradient_keep_their_bits_at_any_scale(
    problem, power
):
    """Multiplied by 1e20, a layer kept its codes and hid its gradient from attacks."""
    logits = problem[0](problem[1][1:], 0)
    scale = jnp.float32(2.0**power)

    def unit(values):
        return relax(values, 0, Budget(relaxation="unit"))

    found, slope = jax.vjp(unit, scale * logits)
    expected, its_slope = jax.vjp(unit, logits)
    np.testing.assert_array_equal(found, expected)
    weights = jnp.arange(1.0, 1 + expected.size).reshape(expected.shape)
    (one,), (other,) = slope(weights), its_slope(weights)
    assert np.abs(other).max() > 0
    np.testing.assert_array_equal(one * scale, other)


def test_the_unit_relaxation_of_zeros_has_a_gradient():
    def total(logits):
        return relax(logits, 0, Budget(relaxation="unit")).sum()

    slope = jax.grad(total)(jnp.zeros((2, 6)).at[1, 0].set(1.0))
    assert np.isfinite(slope).all() and (slope[0] > 0).all()


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_a_code_of_one_bit_has_a_gradient(relaxation):
    """Of unit length it was its sign, and the gradient rounding noise."""

    def total(logits):
        return relax(logits, 0, Budget(relaxation=relaxation)).sum()

    logits = jnp.array([[-5.0], [-0.1], [0.0], [0.1], [5.0]])
    assert (jax.grad(total)(logits) > 1e-4).all()
    found = relax(jnp.array([[1e6], [-1e6]]), 0, Budget(relaxation="unit"))
    np.testing.assert_allclose(found, [[1.0], [-1.0]], atol=1e-5)


def test_saturated_codes_stop_the_tanh_relaxation_but_not_the_logits(problem):
    encode, *rest = problem

    def saturated(images, iteration):
        return 1e4 * encode(images, iteration)

    budget = Budget(epsilon=EPSILON, steps=5, random_start=False)
    for relaxation, moves in (("tanh", False), ("logits", True), ("unit", True)):
        attack = away_from_references(
            dataclasses.replace(budget, relaxation=relaxation)
        )
        changed = attack(saturated, *rest) != problem[1]
        assert (changed[2:].mean() > 0.9) == moves


def test_a_reference_of_zeros_moves_nothing_but_the_start(problem):
    encode, images, references, keys = problem
    arguments = encode, images, jnp.zeros_like(references), keys
    np.testing.assert_array_equal(_make("cgat")(*arguments), _make("noise")(*arguments))


def test_nag_with_quiet_noise_is_the_sign_attack_towards_its_references(problem):
    """In a ball so small that a linear network sees no difference in its gradients."""
    moved = [
        _make(name, epsilon=1e-6, alpha="one", random_start=False)(*problem)
        for name in ("nag", "dhta")
    ]
    np.testing.assert_array_equal(*moved)


def test_steps_equal_a_numpy_loop_on_a_linear_network(problem):
    """Signs of the exact gradient of mean(tanh(Wx) * c), clipped after each step."""
    encode, images, references, keys = problem
    weights = np.array(jax.jacobian(lambda x: encode(x[None], 0)[0])(images[2]))
    x = origin = np.array(images[2])
    for _ in range(3):
        slope = 1 - np.tanh((weights * x).sum(axis=(1, 2, 3))) ** 2
        gradient = np.tensordot(slope * np.array(references[2]), weights, 1)
        x = x - np.float32(1 / 255) * np.sign(gradient)
        x = np.clip(np.clip(x, origin - EPSILON, origin + EPSILON), 0, 1)
    attack = _make("cgat", steps=3, step_size=1 / 255, random_start=False)
    moved = attack(encode, images, references, keys)[2]
    np.testing.assert_allclose(moved, x, atol=1e-6)


def test_attack_lists_are_parsed_in_order_and_checked():
    assert listed(" noise, cgat,noise,") == ("noise", "cgat")
    assert listed("") == ()
    assert ordered_attacks(["noise", "cgat", "noise"]) == ["noise", "cgat"]
    assert ordered_attacks(["worst_case", "cgat"]) == ["cgat", "worst_case"]
    with pytest.raises(ValueError, match="unknown attack 'cgta'.*did you mean 'cgat'"):
        ordered_attacks(["noise", "cgta"])
