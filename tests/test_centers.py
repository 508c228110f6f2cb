import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.centers import center_codes
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
    for _ in range(20):
        codes = np.tanh(rng.normal(size=(size, 9)))
        labels = (rng.random((size, 4)) < 0.3).astype(np.float32)
        queries = (rng.random((5, 4)) < 0.4).astype(np.float32)
        bank = Bank(jnp.array(codes, jnp.float32), jnp.array(labels))
        got = jax.jit(lambda q, b: center_codes(q, b, binary=True))(
            jnp.array(queries), bank
        )
        expected = [reference.center_code(q, np.sign(codes), labels) for q in queries]
        np.testing.assert_array_equal(got, expected)


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
