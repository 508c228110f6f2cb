import numpy as np
import pytest

from cgat_jax.retrieval import evaluate_retrieval, ranking
from tests.reference import retrieval as reference

SIZES = [1, 2, 63, 64, 65, 128, 1000]


def rank_by_sorting(distances, chosen, max_distance):
    """Ranks of the chosen items and how many lie at each distance or nearer."""
    order = np.argsort(distances, kind="stable")
    values = np.arange(max_distance + 1)[:, None]
    return np.flatnonzero(chosen[order]) + 1, (distances <= values).sum(axis=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("num_values", [1, 2, 3, 33, 129, 255])
@pytest.mark.parametrize("num_items", SIZES)
def test_ranks_are_those_of_a_stable_sort(rng, num_items, num_values, dtype):
    max_distance = 255 if dtype == np.uint8 else 256
    ranker = ranking.Ranker(num_items, max_distance)
    for share in (0, 0.1, 1):  # the same room again: what is left in it is no matter
        distances = rng.integers(0, num_values, num_items).astype(dtype)
        chosen = rng.random(num_items) < share
        ranks, ends = ranker.rank(distances, chosen)
        expected_ranks, expected_ends = rank_by_sorting(distances, chosen, max_distance)
        np.testing.assert_array_equal(ranks, expected_ranks)
        np.testing.assert_array_equal(ends, expected_ends)


@pytest.mark.parametrize("num_values", [1, 2, 7, 200])
@pytest.mark.parametrize("num_items", SIZES)
def test_nearest_is_the_stable_order(rng, num_items, num_values):
    distances = rng.integers(3, 3 + num_values, num_items).astype(np.uint8)
    order = np.argsort(distances, kind="stable")
    for count in (1, num_items // 2 + 1, num_items, num_items + 5):
        nearest = ranking.nearest(distances, count)
        np.testing.assert_array_equal(nearest, order[:count])


def test_random_shapes_are_bit_equal_to_the_definitions(rng):
    """Everything at once, on 40 problems of random sizes, lengths, ties and zeros."""
    for _ in range(40):
        sizes = rng.integers(1, [6, 400])
        num_bits, num_classes = rng.integers(1, [140, 70])
        entries = [(-1, 1), (-1, 0, 1)][rng.integers(2)]
        pool = rng.choice(entries, size=(rng.integers(1, 60), num_bits))
        codes = [pool[rng.integers(0, len(pool), size)] for size in sizes]
        labels = [(rng.random((n, num_classes)) < 0.1).astype(int) for n in sizes]
        top_k, levels = (int(value) for value in rng.integers(1, [300, 30]))
        cutoffs = [int(n) for n in rng.integers(1, 400, 3)]
        data = codes[0], labels[0], codes[1], labels[1]
        scores = evaluate_retrieval(
            *data, top_k=top_k, precision_at=cutoffs, recall_levels=levels
        )
        rankings = [
            reference.ranked_relevance(code, label, *data[2:])
            for code, label in zip(*data[:2], strict=True)
        ]
        expected = [reference.average_precision(row, top_k) for row in rankings]
        np.testing.assert_array_equal(scores.average_precision, expected)
        everything = [reference.average_precision(row) for row in rankings]
        assert scores.map_all == np.mean(everything)
        at = [[reference.precision_at(row, n) for n in cutoffs] for row in rankings]
        kept = np.array(cutoffs) <= sizes[1]
        np.testing.assert_array_equal(scores.precision_at, np.mean(at, axis=0)[kept])
        curves = [reference.precision_at_recall(row, levels) for row in rankings]
        curves = [curve for curve in curves if curve is not None]
        curve = np.mean(curves, axis=0) if curves else np.zeros(levels)
        np.testing.assert_array_equal(scores.pr_curve, curve)
        relevant = [row.sum() for row in rankings]
        np.testing.assert_array_equal(scores.num_relevant, relevant)
