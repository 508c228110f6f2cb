import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks import objectives
from cgat_jax.attacks.pgd import Budget, alpha_at
from cgat_jax.types import Bank
from tests import golden
from tests.reference import attacks as reference
from tests.reference.retrieval import average_precision

OWN = golden.U[:4]
BANK = np.sign(golden.U)


def _norm(function, codes):
    return jnp.linalg.norm(jax.grad(function)(codes))


def test_golden_hag(x64):
    def mean(codes):
        return objectives.hag(codes, jnp.array(OWN)).mean()

    codes = jnp.array(golden.CODES)
    assert mean(codes) == pytest.approx(1.5992029855, abs=1e-9)
    assert _norm(mean, codes) == pytest.approx(0.2635882858, abs=1e-9)


@pytest.mark.slow
def test_golden_sdha(x64):
    bank = Bank(jnp.array(BANK), jnp.array(golden.BANK_LABELS))
    arguments = jnp.array(OWN), jnp.array(golden.LABELS), bank

    def mean(codes):
        return objectives.sdha(codes, *arguments).mean()

    codes = jnp.array(golden.CODES)
    assert mean(codes) == pytest.approx(-3.5635310647, abs=1e-9)
    assert _norm(mean, codes) == pytest.approx(0.3880936658, abs=1e-9)


def _problem(rng):
    codes, own = np.tanh(rng.normal(size=(2, 5, 7)) * 2)
    bank = rng.choice([-1.0, 1.0], (9, 7))
    labels = (rng.random((9, 3)) < 0.4).astype(float)
    labels[2] = 0
    return codes, own, rng.choice([-1.0, 1.0], (5, 7)), bank, labels


NAMES = ["masked_quadratic", "masked_quadratic_targeted", "hag"]


@pytest.mark.parametrize("name", NAMES)
def test_objectives_equal_the_loop_over_bits(rng, x64, name):
    codes, own, references, _, _ = _problem(rng)
    second = own if name == "hag" else references
    got = getattr(objectives, name)(jnp.array(codes), jnp.array(second))
    expected = [
        getattr(reference, name)(*row) for row in zip(codes, second, strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.slow
def test_sdha_equals_the_loop_over_relevant_codes(rng, x64):
    codes, own, _, bank, labels = _problem(rng)
    got = objectives.sdha(
        jnp.array(codes),
        jnp.array(own),
        jnp.array(labels[:5]),
        Bank(jnp.array(bank), jnp.array(labels)),
    )
    expected = [
        reference.sdha(*row, bank, labels)
        for row in zip(codes, own, labels[:5], strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_agreement_and_disagreement_are_opposite(rng):
    codes, _, references, _, _ = (jnp.array(x, jnp.float32) for x in _problem(rng))
    got = objectives.agreement(codes, references)
    np.testing.assert_allclose(got, (codes * references).mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(-got, objectives.disagreement(codes, references))


@pytest.mark.parametrize("name", ["agreement", "masked_quadratic"])
def test_the_opposite_code_is_the_untargeted_optimum(rng, name):
    """Of all codes none has a lower value than minus the reference."""
    references = jnp.array(rng.choice([-1.0, 1.0], (1, 5)), jnp.float32)
    every = jnp.array(np.indices([2] * 5).reshape(5, -1).T * 2.0 - 1, jnp.float32)
    repeated = jnp.repeat(references, len(every), axis=0)
    values = getattr(objectives, name)(every, repeated)
    best = getattr(objectives, name)(-references, references)
    assert values.min() == best[0]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [10, 100, 1500, 2000, 7])
def test_alpha_grows_in_ten_parts(steps):
    budget = Budget(steps=steps, alpha="annealed")
    got = [float(alpha_at(budget, i)) for i in range(steps)]
    expected = [reference.annealed(i, steps) for i in range(steps)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_alpha_of_the_long_attacks_at_its_breakpoints():
    budget = Budget(steps=2000, alpha="annealed")
    at = [0, 999, 1000, 1199, 1200, 1400, 1600, 1799, 1800, 1999]
    got = [float(alpha_at(budget, i)) for i in at]
    np.testing.assert_allclose(got, [0.1, 0.1, 0.2, 0.2, 0.3, 0.5, 0.7, 0.7, 1, 1])
    assert float(alpha_at(Budget(steps=2000), 0)) == 1


def _table(rng, items, bits):
    codes = rng.choice([-1.0, 1.0], (items, bits))
    labels = (rng.random((items, 3)) < 0.4).astype(float)
    return Bank(jnp.array(codes), jnp.array(labels))


def test_relaxed_average_precision_equals_the_loop(rng, x64):
    bank, bits = _table(rng, 30, 6), 6
    codes = rng.uniform(-1, 1, (4, bits))
    labels = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    found = objectives.relaxed_average_precision(
        jnp.array(codes), jnp.array(labels), bank
    )
    expected = [
        reference.relaxed_average_precision(
            code, label, np.array(bank.codes), np.array(bank.labels)
        )
        for code, label in zip(codes, labels, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found[3] == 0


@pytest.mark.parametrize("stretch", [1.0, 1.5])  # codes may leave the cube
def test_relaxed_average_precision_has_the_gradient_of_the_loop(rng, x64, stretch):
    bank, bits, step = _table(rng, 40, 6), 6, 1e-6
    codes = rng.uniform(-stretch, stretch, (3, bits))
    labels = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])

    def total(codes):
        return objectives.relaxed_average_precision(
            codes, jnp.array(labels), bank
        ).sum()

    def slope(row, bit):
        moved = np.repeat(codes[row : row + 1], 2, axis=0)
        moved[:, bit] += [step, -step]
        arrays = labels[row], np.array(bank.codes), np.array(bank.labels)
        high, low = (
            reference.relaxed_average_precision(code, *arrays) for code in moved
        )
        return (high - low) / (2 * step)

    expected = [[slope(row, bit) for bit in range(bits)] for row in range(3)]
    found = jax.grad(total)(jnp.array(codes))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_both_ways_of_counting_by_distance_agree(rng, x64, stretch):
    """A CPU's, and that of accelerators, which no test here would reach."""
    distances = jnp.array(rng.uniform(-0.2 * stretch, 8 + stretch, (4, 50)))
    distances = distances.at[0, :9].set(jnp.arange(9.0))
    relevant = jnp.array((rng.random((4, 50)) < 0.3).astype(float))
    by_item = objectives._bins_item_by_item(distances, relevant, bits=8)
    by_bin = objectives._bins_one_by_one(distances, relevant, bits=8)
    for one, other in zip(by_item, by_bin, strict=True):
        assert one.shape == (4, 9)
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_without_ties_it_is_average_precision(x64):
    """Theory: one item at each distance makes every bin a rank."""
    bits = 12
    codes = jnp.array(np.where(np.tri(bits, k=-1), -1.0, 1.0))
    relevant = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1])
    bank = Bank(codes, jnp.array(np.stack([relevant, 1 - relevant], axis=1), float))
    query, label = jnp.ones((1, bits)), jnp.array([[1.0, 0.0]])
    found = objectives.relaxed_average_precision(query, label, bank)
    assert found[0] == pytest.approx(average_precision(relevant), abs=1e-7)


def test_relaxed_average_precision_sees_how_close_the_irrelevant_are(x64):
    bank = Bank(jnp.array([[1.0, 1, 1, 1], [-1, -1, -1, -1]]), jnp.eye(2))
    labels = jnp.array([[1.0, 0.0]])

    def of(code):
        return objectives.relaxed_average_precision(jnp.array([code]), labels, bank)

    assert of([1.0, 1, 1, 1])[0] == pytest.approx(1)
    assert of([-1.0, -1, -1, -1])[0] == pytest.approx(0.5)
    assert of([0.1, 0.1, 0.1, 0.1])[0] < of([0.6, 0.6, 0.6, 0.6])[0]
