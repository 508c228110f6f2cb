import numpy as np
import pytest

from cgat_jax.retrieval.confidence import bootstrap_interval, code_usage
from cgat_jax.rng import host_stream


def test_the_interval_is_that_of_the_normal_limit(rng):
    """Many values of known spread: mean +- 1.96 standard errors."""
    values = rng.normal(0.4, 0.2, 4_000)
    low, high = bootstrap_interval(values)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + error, abs=0.15 * error)


def test_the_interval_covers_the_truth_as_often_as_it_says(rng):
    """150 samples of a skewed distribution; 95 % of the intervals hold its mean."""
    hits = 0
    for _ in range(150):
        low, high = bootstrap_interval(rng.beta(0.5, 1.5, 200))
        hits += low <= 0.25 <= high
    assert 134 <= hits <= 150


def test_equal_values_have_no_interval():
    assert bootstrap_interval(np.full(7, 0.3)) == (pytest.approx(0.3),) * 2
    with pytest.raises(ValueError, match="values: expected one or more"):
        bootstrap_interval(np.empty(0))


def test_the_same_seed_gives_the_same_interval(rng):
    values = rng.random(50)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_every_code_once_uses_everything():
    codes = np.indices([2] * 4).reshape(4, -1).T * 2 - 1
    assert code_usage(codes) == (1.0, 1.0, 0.0)


def test_collapsed_codes_use_nothing():
    usage = code_usage(np.tile([1, -1, 1], (8, 1)))
    assert usage == (1 / 8, pytest.approx(0, abs=1e-12), 1.0)


def test_entropy_of_a_quarter_is_the_textbook_value():
    codes = np.array([[1], [-1], [-1], [-1]])
    assert code_usage(codes).entropy == pytest.approx(0.8112781244591328)


def test_a_bit_of_zero_counts_as_half():
    assert code_usage(np.zeros((5, 2), np.int8)).entropy == 1.0


def test_the_resamples_are_drawn_from_a_stream_of_their_own(rng):
    """The plain seed's stream is that of splits, which should be independent."""
    values, means = rng.random(50), []
    stream = host_stream(3, "bootstrap")
    for _ in range(10):
        drawn = stream.integers(0, 50, (200, 50))
        means.append(values[drawn].mean(axis=1))
    expected = np.quantile(np.concatenate(means), [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_interval(values, seed=3), expected)
