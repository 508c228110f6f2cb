import numpy as np
import pytest
from scipy.stats import hypergeom

from cgat_jax.retrieval.ties import expected_average_precision
from tests.reference import retrieval as reference


def expected(distance, relevance, top_k):
    values = np.arange(int(distance.max()) + 2)  # empty groups are part of the game
    ends = [(distance <= value).sum() for value in values]
    hit_ends = [relevance[distance <= value].sum() for value in values]
    return of_groups(ends, hit_ends, top_k)


def of_groups(ends, hit_ends, top_k):
    (value,) = expected_average_precision(np.array([ends]), np.array([hit_ends]), top_k)
    return value


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
    assert of_groups([2], [1], 2) == 0.75
    assert of_groups([2], [1], 1) == 0.5


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
    result = of_groups([200_000], [hits], 5000)
    np.testing.assert_allclose(result, hits / 200_000, rtol=1e-12)


def test_large_groups_are_finite_and_near_the_share():
    result = of_groups([10**6], [10**5], 5000)
    assert 0.1 < result < 0.105


def test_the_cut_within_a_large_group_is_a_hypergeometric_mean(rng):
    """Against SciPy's distribution over all numbers of hits, none of them left out."""
    for _ in range(20):
        nearer, size = (int(n) for n in rng.integers(1, [4000, 150_000]))
        top_k = nearer + int(rng.integers(1, min(size, 5000) + 1))
        hits_before, hits = int(rng.integers(nearer + 1)), int(rng.integers(size + 1))
        before = reference_of_one_group(0, 0, nearer, hits_before, nearer)
        found = np.arange(min(hits, top_k - nearer) + 1)
        odds = hypergeom(size, hits, top_k - nearer).pmf(found)
        gains = before + [
            reference_of_one_group(nearer, hits_before, top_k - nearer, x, top_k)
            for x in found
        ]
        np.testing.assert_allclose(
            of_groups(
                [nearer, nearer + size], [hits_before, hits_before + hits], top_k
            ),
            (odds * gains / np.maximum(hits_before + found, 1)).sum(),
            rtol=1e-9,
        )


def reference_of_one_group(nearer, hits_before, size, hits, top_k):
    """Sum over the group of P(hit) times the expected hits up to it over its rank."""
    places = np.arange(size)
    up_to = hits_before + 1 + places * (hits - 1) / max(size - 1, 1)
    return (hits / size * up_to / (nearer + 1 + places)).sum()


def test_a_query_is_measured_alike_whatever_is_beside_it(rng):
    """Bit for bit: other queries and empty groups, which a device's rankings have."""
    sizes = rng.integers(0, 3000, (30, 9)) * (rng.random((30, 9)) < 0.7)
    sizes[:, -1] += 30_000 - sizes.sum(axis=1)
    ends = np.cumsum(sizes, axis=1)
    hit_ends = np.cumsum(rng.binomial(sizes, rng.random((30, 9))), axis=1)
    together = expected_average_precision(ends, hit_ends, 5000)
    alone = [of_groups(*row, 5000) for row in zip(ends, hit_ends, strict=True)]
    np.testing.assert_array_equal(together, alone)
    ends, hit_ends = (np.repeat(x, 2, axis=1) for x in (ends, hit_ends))
    np.testing.assert_array_equal(
        expected_average_precision(ends, hit_ends, 5000), together
    )
