import numpy as np
import pytest

from cgat_jax.retrieval.ties import expected_average_precision
from tests.reference import retrieval as reference


def expected(distance, relevance, top_k):
    values = np.arange(int(distance.max()) + 2)  # empty groups are part of the game
    ends = np.array([(distance <= value).sum() for value in values])
    hit_ends = np.array([relevance[distance <= value].sum() for value in values])
    return expected_average_precision(ends, hit_ends, top_k)


@pytest.mark.parametrize("top_k", range(1, 9))
@pytest.mark.parametrize("num_values", [1, 2, 3, 8])
def test_equals_the_average_over_every_order(rng, top_k, num_values):
    for _ in range(2):
        num_items = 7 if num_values == 1 else 8
        distance = rng.integers(0, num_values, num_items)
        relevance = rng.random(num_items) < 0.4
        cut = min(top_k, num_items)
        exact = reference.average_over_orders(distance, relevance, cut)
        np.testing.assert_allclose(
            expected(distance, relevance, cut), exact, rtol=1e-12, atol=1e-15
        )


def test_by_hand():
    """Two items tie and one is relevant: it comes first or second, AP 1 or 1/2."""
    assert expected_average_precision(np.array([2]), np.array([1]), 2) == 0.75
    assert expected_average_precision(np.array([2]), np.array([1]), 1) == 0.5


def test_without_ties_it_is_the_plain_average_precision(rng):
    relevance = rng.random(200) < 0.3
    for top_k in (1, 50, 200):
        np.testing.assert_allclose(
            expected(np.arange(200), relevance, top_k),
            reference.average_precision(relevance, top_k),
            rtol=1e-12,
        )


@pytest.mark.parametrize("top_k", [30, 100, 400])
@pytest.mark.parametrize("share", [0.02, 0.4, 1.0])
def test_within_sampling_error_of_random_orders(rng, top_k, share):
    distance = rng.binomial(16, 0.4, size=400)
    relevance = rng.random(400) < share * np.exp(-distance / 16)
    samples = reference.sampled_orders(distance, relevance, top_k, rng, 300)
    error = 4 * samples.std() / np.sqrt(len(samples)) + 1e-12
    assert abs(expected(distance, relevance, top_k) - samples.mean()) < error


@pytest.mark.parametrize("hits", [0, 200_000])
def test_all_tied_and_all_alike(hits):
    """No rounding makes 200,000 hits anything but 1, nor none anything but 0."""
    result = expected_average_precision(np.array([200_000]), np.array([hits]), 5000)
    np.testing.assert_allclose(result, hits / 200_000, rtol=1e-12)


def test_large_groups_are_finite_and_near_the_share():
    result = expected_average_precision(np.array([10**6]), np.array([10**5]), 5000)
    assert 0.1 < result < 0.105
