import functools
import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from cgat_jax.centers import center_codes, weighted_center_codes
from cgat_jax.errors import InputError
from cgat_jax.types import Bank
from tests import golden
from tests.reference import centers as reference


def _codes(text):
    return np.array([float(x) for x in text.split()])


BINARY = {
    0: "-1 1 -1 1 0 -1 1 -1 1 -1 1 1 0 -1 1 0",
    1: "0 " * 16,
    2: "-1 1 -1 1 0 -1 1 -1 1 -1 1 1 0 -1 1 0",
    3: "-1 -1 1 -1 0 1 -1 1 -1 1 -1 1 -1 1 -1 0",
}
SOFT = {
    0: "1 1 -1 1 1 -1 1 -1 1 -1 1 1 1 -1 1 1",
    3: "-1 -1 1 -1 -1 1 -1 1 -1 1 -1 1 -1 1 -1 1",
}


@pytest.mark.parametrize(("binary", "rows"), [(True, BINARY), (False, SOFT)])
def test_golden_centers(x64, binary, rows):
    centers = center_codes(jnp.array(golden.LABELS), golden.bank(), binary=binary)
    for row, text in rows.items():
        np.testing.assert_array_equal(centers[row], _codes(text))


def test_golden_agreement_with_the_binary_center(x64):
    centers = center_codes(jnp.array(golden.LABELS), golden.bank(), binary=True)
    assert np.mean(golden.CODES * centers) == pytest.approx(0.0955184046, abs=1e-9)


def test_no_code_beats_the_closed_form(rng):
    """Reference: the objective itself, minimized over all 2^K codes."""
    codes = rng.choice([-1.0, 1.0], size=(20, 5))
    labels = rng.integers(0, 2, size=(20, 3)).astype(float)
    bank = Bank(jnp.array(codes), jnp.array(labels))
    every_code = [np.array(c) for c in itertools.product([-1.0, 1.0], repeat=5)]

    for label, center in enumerate(np.asarray(center_codes(jnp.eye(3), bank))):
        positive = labels[:, label] > 0
        groups = codes[positive], codes[~positive]
        best = min(reference.objective(code, *groups) for code in every_code)
        tied = [c for c in every_code if ((center == 0) | (c == center)).all()]
        scores = [reference.objective(code, *groups) for code in tied]
        np.testing.assert_allclose(scores, best, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_binary_centers_equal_the_loop_on_ties_too(rng, size):
    centers = jax.jit(functools.partial(center_codes, binary=True))
    for _ in range(20):
        codes = np.tanh(rng.normal(size=(size, 9)))
        labels = (rng.random((size, 4)) < 0.3).astype(np.float32)
        queries = (rng.random((5, 4)) < 0.4).astype(np.float32)
        bank = Bank(jnp.array(codes, jnp.float32), jnp.array(labels))
        got = centers(jnp.array(queries), bank)
        expected = [reference.center_code(q, np.sign(codes), labels) for q in queries]
        np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_a_large_binary_bank_keeps_ties_exact():
    """N * sum passes 2^24 here: float32 products would round a tie away."""
    size = 40_001
    labels = np.zeros((size, 2), np.float32)
    labels[: size - 2, 0] = labels[size - 2 :, 1] = 1
    codes = np.ones((size, 2), np.float32)
    codes[0], codes[size - 1] = -1, -1  # means (N-4)/(N-2) and 0, then one bit less
    bank = Bank(jnp.array(codes), jnp.array(labels))
    expected = reference.center_code(np.array([1.0, 0]), codes, labels)
    got = center_codes(jnp.array([[1.0, 0.0]]), bank, binary=True)[0]
    np.testing.assert_array_equal(got, expected)


COPIES = (1, 12_000, 5_149)  # 9 times 5,149 is 46,341
_binary_centers = jax.jit(functools.partial(center_codes, binary=True))


def _tied_bank(rng, size):
    """Half of the bank has class 0. Bits by their means of positives and of all:

    the same (a tie), one code more, one less, all alike, all opposite, noise twice.
    """
    half = size // 2
    labels = np.zeros((size, 3), np.float32)
    labels[:half, 0], labels[half:, 1] = 1, 1
    signs = rng.choice([-1.0, 1.0], (size, 7)).astype(np.float32)
    quarter = np.where(np.arange(half) % 4 == 0, 1.0, -1.0)
    for bit, change in enumerate((0, 1, -1)):
        positives = quarter.copy()
        if change:
            positives[np.flatnonzero(positives == -change)[0]] = change
        signs[:half, bit], signs[half:, bit] = positives, quarter
    signs[:, 3] = 1
    signs[:half, 4], signs[half:, 4] = 1, -1
    order = rng.permutation(size)
    return signs[order], labels[order]


@pytest.mark.parametrize("size", [46_340, 46_344, 80_000, 1_000_364])
def test_binary_centers_are_exact_for_any_bank(rng, size):
    """Products of counts pass 2^31 from 46,341 codes on, and 2^39 at a million."""
    signs, labels = _tied_bank(rng, size)
    queries = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32)
    expected = reference.whole_center_codes(queries, signs, labels)
    assert expected[0, :5].tolist() == [0, 1, -1, 0, 1]
    scale = rng.choice(np.float32([0.1, 0.9]), signs.shape)
    bank = Bank(jnp.array(signs * scale), jnp.array(labels))
    got = _binary_centers(queries, bank)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_half_positive_of_eighty_thousand():
    """Positives all +1, negatives all -1: 32-bit products gave minus the center."""
    labels = jnp.repeat(jnp.eye(2), 40_000, axis=0)
    bank = Bank(labels[:, :1] * 2 - 1, labels)
    bank = bank._replace(codes=jnp.tile(bank.codes, (1, 2)))
    got = center_codes(jnp.array([[1.0, 0.0]]), bank, binary=True)
    np.testing.assert_array_equal(got, [[1.0, 1.0]])


@pytest.mark.parametrize("size", [12_303, 99_999])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_soft_tie_is_one_compiled_or_not(size, compiled):
    """A third of the bank is positive, and has its mean; the products round alike."""
    third = size // 3
    plus = np.arange(0, third, 97)  # of the codes of each third, bit by bit
    codes = np.tile(np.where(np.arange(third)[:, None] < plus, 1.0, -1.0), (3, 1))
    labels = np.eye(2)[np.repeat([0, 1, 1], third)]
    bank = Bank(jnp.array(codes, jnp.float32), jnp.array(labels, jnp.float32))
    centers = jax.jit(center_codes) if compiled else center_codes
    got = centers(jnp.array([[1.0, 0.0]]), bank)
    np.testing.assert_array_equal(got, np.zeros((1, len(plus))))


def test_a_bank_that_is_not_finite_gives_no_center():
    codes = jnp.array([[1.0, jnp.nan], [-1.0, 1.0]])
    got = center_codes(jnp.array([[1.0, 0.0]]), Bank(codes, jnp.eye(2)))
    np.testing.assert_array_equal(got, [[1.0, np.nan]])


@hypothesis.given(seed=st.integers(0, 2**32 - 1), copies=st.sampled_from(COPIES))
@hypothesis.settings(max_examples=40)
def test_copies_of_a_bank_have_its_centers(seed, copies):
    """Means do not change, ties neither: small sums, which tie often, made large."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 0.0, 1.0], (9, 6)).astype(np.float32)
    labels, queries = rng.integers(0, 2, (9, 3)), rng.integers(0, 2, (4, 3))
    whole = (np.tile(x, (copies, 1)).astype(np.float32) for x in (signs, labels))
    bank = Bank(*map(jnp.array, whole))
    got = _binary_centers(jnp.array(queries, jnp.float32), bank)
    expected = reference.whole_center_codes(queries, signs, labels)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("binary", [True, False])
def test_without_negatives_the_positives_decide(binary):
    codes = jnp.array([[1.0, -1.0], [1.0, -1.0], [-1.0, -1.0]])
    bank = Bank(codes, jnp.ones((3, 1)))
    centers = center_codes(jnp.ones((1, 1)), bank, binary=binary)
    np.testing.assert_array_equal(centers, [[1.0, -1.0]])


@pytest.mark.parametrize("binary", [True, False])
def test_without_positives_nothing_is_guided(binary):
    bank = Bank(jnp.array([[1.0, -1.0]]), jnp.zeros((1, 2)))
    centers = center_codes(jnp.ones((1, 2)), bank, binary=binary)
    np.testing.assert_array_equal(centers, [[0.0, 0.0]])


def test_an_unknown_weight_names_the_nearest():
    bank = Bank(jnp.ones((1, 2)), jnp.ones((1, 2)))
    with pytest.raises(InputError, match="unknown weights 'cosin'.*'cosine'"):
        weighted_center_codes(jnp.ones((1, 2)), bank, weights="cosin")


MAINSTAY = {
    0: "-1 1 -1 1 1 -1 1 -1 1 -1 1 1 -1 -1 1 0",
    1: "-1 -1 1 -1 0 0 1 -1 1 -1 1 1 -1 1 -1 0",
}


@pytest.mark.parametrize("row", MAINSTAY)
def test_golden_mainstay_codes(x64, row):
    codes = weighted_center_codes(
        jnp.array(golden.LABELS), golden.bank(), weights="cosine", binary=True
    )
    np.testing.assert_array_equal(codes[row], _codes(MAINSTAY[row]))


def _random(rng, size=11, bits=9):
    """Queries and a bank, one of each without a label."""
    codes = np.tanh(rng.normal(size=(size, bits)))
    labels = (rng.random((size, 4)) < 0.4).astype(float)
    queries = (rng.random((60, 4)) < 0.5).astype(float)
    queries[0], labels[0] = 0, 0
    return queries, codes, labels


@pytest.mark.parametrize("weights", ["jaccard", "cosine"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("size", [1, 11])
def test_weighted_centers_equal_the_loop(rng, x64, weights, binary, size):
    """Reference: sums over label sets; bits that tie up to rounding may differ."""
    queries, codes, labels = _random(rng, size)
    bank = Bank(jnp.array(codes), jnp.array(labels))
    got = weighted_center_codes(
        jnp.array(queries), bank, weights=weights, binary=binary
    )
    used = np.sign(codes) if binary else codes
    expected = np.array(
        [reference.weighted_difference(q, used, labels, weights) for q in queries]
    )
    clear = np.abs(expected) > 1e-9
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(got[clear], np.sign(expected[clear]))


@pytest.mark.parametrize("weights", ["jaccard", "cosine"])
def test_no_code_beats_the_weighted_centers(rng, x64, weights):
    """Reference: the weighted mean Hamming distances, over all 2^K codes."""
    queries, codes, labels = _random(rng, size=20, bits=5)
    bank = Bank(jnp.array(np.sign(codes)), jnp.array(labels))
    centers = weighted_center_codes(jnp.array(queries), bank, weights=weights)
    every_code = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    for query, center in zip(queries, np.asarray(centers), strict=True):
        near = [reference.label_weight(query, other, weights) for other in labels]
        near = np.array(near) / (sum(near) or 1)
        far = (near == 0) / (near == 0).sum()
        distances = (every_code[:, None] != np.sign(codes)[None]).sum(axis=2)
        scores = distances @ (near - far)
        chosen = ((center == 0) | (every_code == center)).all(axis=1)
        np.testing.assert_allclose(scores[chosen], scores.min(), atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("weights", ["jaccard", "cosine"])
@pytest.mark.parametrize("binary", [True, False])
def test_with_one_label_each_weights_change_nothing(rng, weights, binary):
    codes = jnp.array(np.tanh(rng.normal(size=(31, 9))), jnp.float32)
    bank = Bank(codes, jnp.eye(4)[jnp.arange(31) % 3])
    queries = jnp.eye(4)[:3]  # without positives they would differ
    np.testing.assert_array_equal(
        weighted_center_codes(queries, bank, weights=weights, binary=binary),
        center_codes(queries, bank, binary=binary),
    )


@pytest.mark.parametrize("weights", ["jaccard", "cosine"])
def test_an_image_that_shares_more_labels_weighs_more(weights):
    """Jaccard 1/3 - 0.1, cosine 0.17 - 0.1, but equal weights 0 - 0.1."""
    labels = jnp.array([[1.0, 1, 0], [1.0, 0, 0], [0.0, 0, 1]])
    bank = Bank(jnp.array([[1.0], [-1.0], [0.1]]), labels)
    query = jnp.array([[1.0, 1, 0]])
    np.testing.assert_array_equal(center_codes(query, bank), [[-1.0]])
    center = weighted_center_codes(query, bank, weights=weights)
    np.testing.assert_array_equal(center, [[1.0]])


@pytest.mark.parametrize("weights", ["jaccard", "cosine"])
def test_weighted_centers_of_one_group_follow_it(weights):
    bank = Bank(jnp.array([[1.0, -1.0], [0.5, 0.5]]), jnp.ones((2, 1)))
    alike = weighted_center_codes(jnp.ones((1, 1)), bank, weights=weights)
    np.testing.assert_array_equal(alike, [[1.0, -1.0]])
    without = weighted_center_codes(jnp.zeros((1, 1)), bank, weights=weights)
    np.testing.assert_array_equal(without, [[-1.0, 1.0]])
