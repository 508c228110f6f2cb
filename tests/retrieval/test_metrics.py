import numpy as np
import pytest

from cgat_jax.retrieval import average_precision_at, evaluate_retrieval
from tests import golden
from tests.reference import retrieval as reference

CASES = [(1, 1), (7, 3), (16, 8), (32, 21), (64, 38), (65, 64), (127, 80), (128, 130)]


def random_set(rng, num_bits, num_classes, entries=(-1, 1), sizes=(9, 150)):
    """Few distinct codes, so that ties abound; some rows have no label."""
    prototypes = rng.choice(entries, size=(12, num_bits))
    result = []
    for size in sizes:
        codes = prototypes[rng.integers(0, 12, size)].copy()
        codes[:, : num_bits // 4] = rng.choice(entries, size=(size, num_bits // 4))
        labels = (rng.random((size, num_classes)) < 1.2 / num_classes).astype(np.int64)
        labels[0] = 0
        result += [codes, labels]
    return result


def rankings(data):
    queries, query_labels, database, labels = data
    return [
        reference.ranked_relevance(code, label, database, labels)
        for code, label in zip(queries, query_labels, strict=True)
    ]


@pytest.mark.parametrize("top_k", [1, 40, 150, 5000])
@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1)])
@pytest.mark.parametrize("num_bits, num_classes", CASES)
def test_average_precision_is_bit_equal(rng, num_bits, num_classes, entries, top_k):
    data = random_set(rng, num_bits, num_classes, entries)
    expected = reference.all_average_precisions(*data, top_k)
    scores = evaluate_retrieval(*data, top_k=top_k)
    np.testing.assert_array_equal(scores.average_precision, expected)
    np.testing.assert_array_equal(average_precision_at(*data, top_k=top_k), expected)
    assert scores.map == expected.mean()
    assert scores.map_all == reference.all_average_precisions(*data).mean()
    assert scores.top_k == min(top_k, 150)


@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1)])
def test_curves_equal_the_definitions(rng, entries):
    data = random_set(rng, 10, 6, entries)
    scores = evaluate_retrieval(*data, precision_at=(1, 7, 150, 151), recall_levels=20)
    relevances = rankings(data)
    expected = [
        np.mean([reference.precision_at(row, n) for row in relevances])
        for n in (1, 7, 150)
    ]
    np.testing.assert_array_equal(scores.precision_cutoffs, [1, 7, 150])
    np.testing.assert_allclose(scores.precision_at, expected, rtol=1e-15)
    curves = [reference.precision_at_recall(row, 20) for row in relevances]
    expected = np.mean([curve for curve in curves if curve is not None], axis=0)
    np.testing.assert_allclose(scores.pr_curve, expected, rtol=1e-15)
    np.testing.assert_allclose(scores.recall_levels, np.arange(1, 21) / 20)
    assert scores.num_queries_without_relevant == curves.count(None) > 0
    np.testing.assert_array_equal(
        scores.num_relevant, [row.sum() for row in relevances]
    )


@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1)])
def test_size_of_ties_is_that_of_the_items_at_an_items_distance(rng, entries):
    data = random_set(rng, 12, 6, entries)
    sizes = [
        reference.distances(code, data[2]).tolist().count(distance)
        for code in data[0]
        for distance in reference.distances(code, data[2])
    ]
    found = evaluate_retrieval(*data).tie_size
    np.testing.assert_allclose(found, np.mean(sizes), rtol=1e-12)


def test_size_of_ties_without_any_and_of_one_code():
    codes, labels = np.tril(np.full((5, 5), 2)) - 1, np.ones((5, 1))
    assert evaluate_retrieval(codes[:1], labels[:1], codes, labels).tie_size == 1
    assert evaluate_retrieval(codes, labels, codes[[0] * 7], labels[[0] * 7])[-1] == 7


@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1)])
def test_expectation_over_ties(rng, entries):
    """Every order of a tie-ridden database of 7, by permuting the database."""
    data = random_set(rng, 2, 2, entries, sizes=(4, 7))
    queries, query_labels, database, labels = data
    exact = [
        reference.average_over_orders(
            reference.distances(code, database), (labels @ label) > 0, 3
        )
        for code, label in zip(queries, query_labels, strict=True)
    ]
    scores = evaluate_retrieval(*data, top_k=3)
    np.testing.assert_allclose(scores.map_expected, np.mean(exact), rtol=1e-12)


def test_golden():
    toy = np.sign(golden.CODES), golden.LABELS, np.sign(golden.U), golden.BANK_LABELS
    scores = evaluate_retrieval(*toy, top_k=5)
    np.testing.assert_allclose(scores.map_all, 0.5111607143, atol=5e-11)
    np.testing.assert_allclose(scores.map, 0.5833333333, atol=5e-11)
    assert scores.average_precision[1] == 0.0
    assert scores.ceiling == 0.75
    assert scores.num_queries_without_relevant == 1
    assert scores.precision_at.shape == (0,)


def test_by_hand():
    """Ranks 2 and 3 are hits; the one that ties with rank 1 comes second, stably."""
    database = np.array([[1, 1], [1, 1], [1, -1], [-1, -1]])
    labels = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
    scores = evaluate_retrieval(
        np.array([[1, 1]]), np.array([[1, 0]]), database, labels, precision_at=(1, 2)
    )
    np.testing.assert_allclose(scores.map, (1 / 2 + 2 / 3) / 2)
    np.testing.assert_allclose(scores.map_expected, (7 / 12 + 5 / 6) / 2)
    np.testing.assert_array_equal(scores.precision_at, [0, 0.5])
    np.testing.assert_allclose(scores.pr_curve, [1 / 2] * 99 + [2 / 3])
    assert (scores.chance, scores.ceiling) == (0.5, 1.0)


def test_flipping_the_same_bits_everywhere_changes_nothing(rng):
    queries, query_labels, database, labels = random_set(rng, 33, 10, (-1, 0, 1))
    mask = rng.choice([-1, 1], size=33)
    plain = evaluate_retrieval(queries, query_labels, database, labels)
    flipped = evaluate_retrieval(queries * mask, query_labels, database * mask, labels)
    for mine, theirs in zip(plain, flipped, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_queries_are_independent_of_order_and_threads(rng):
    queries, query_labels, database, labels = random_set(rng, 16, 8, sizes=(45, 60))
    order = rng.permutation(45)
    plain = evaluate_retrieval(queries, query_labels, database, labels, threads=1)
    mixed = evaluate_retrieval(
        queries[order], query_labels[order], database, labels, threads=3
    )
    np.testing.assert_array_equal(
        mixed.average_precision, plain.average_precision[order]
    )
    np.testing.assert_allclose(mixed.map_expected, plain.map_expected, rtol=1e-14)


def test_perfect_codes_reach_the_ceiling(rng):
    classes = rng.integers(0, 4, 200)
    codes, labels = np.where(np.eye(4), 1, -1)[classes], np.eye(4)[classes]
    labels[:5] = 0
    scores = evaluate_retrieval(codes[:50], labels[:50], codes[50:], labels[50:])
    assert scores.map == scores.map_all == scores.ceiling == 0.9
    np.testing.assert_allclose(scores.map_expected, 0.9, rtol=1e-12)
    np.testing.assert_array_equal(scores.pr_curve, 1.0)


def test_random_codes_are_at_chance(rng):
    codes = rng.choice([-1, 1], size=(2100, 32))
    labels = (rng.random((2100, 6)) < 0.15).astype(int)
    scores = evaluate_retrieval(codes[:100], labels[:100], codes[100:], labels[100:])
    assert 0.1 < scores.chance < 0.2
    for value in (scores.map, scores.map_all, scores.map_expected):
        assert abs(value - scores.chance) < 0.015
    assert abs(scores.precision_at[-1] - scores.chance) < 0.01


def test_no_query_has_relevant_items(rng):
    queries, query_labels, database, labels = random_set(rng, 8, 5)
    scores = evaluate_retrieval(queries, 0 * query_labels, database, labels)
    assert scores.map == scores.map_all == scores.map_expected == scores.ceiling == 0
    np.testing.assert_array_equal(scores.pr_curve, np.zeros(100))
    assert scores.num_queries_without_relevant == scores.num_queries == 9


def test_reports_progress(rng):
    calls = []
    data = random_set(rng, 8, 5, sizes=(40, 20))
    evaluate_retrieval(*data, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40)
    assert calls == sorted(set(calls))


@pytest.mark.parametrize("evaluate", [evaluate_retrieval, average_precision_at])
@pytest.mark.parametrize(
    "argument, index, value, message",
    [
        ("query_labels", 1, np.ones((3, 2)), "query_labels: expected 2 rows; got 3"),
        ("database_labels", 3, np.ones((3, 3)), "expected 2 columns; got 3"),
        ("database_codes", 2, np.ones((3, 5)), "expected 4 columns; got 5"),
        ("database_codes", 2, np.full((3, 4), np.nan), r"got nan at \[0, 0\]"),
        ("query_codes", 0, np.ones((0, 4)), r"not empty; got shape \(0, 4\)"),
        ("query_labels", 1, np.full((2, 2), 2), r"expected entries 0, 1; got 2"),
        ("database_labels", 3, np.full((3, 2), -1.0), r"got -1.0 at \[0, 0\]"),
    ],
)
def test_bad_sets_are_refused(evaluate, argument, index, value, message):
    data = [np.ones((2, 4)), np.ones((2, 2)), np.ones((3, 4)), np.ones((3, 2))]
    data[index] = value
    with pytest.raises(ValueError, match=f"^{argument}: .*{message.split(': ')[-1]}"):
        evaluate(*data)


@pytest.mark.parametrize("name", ["top_k", "recall_levels", "threads", "precision_at"])
@pytest.mark.parametrize("value", [0, -1])
def test_bad_numbers_are_refused(name, value):
    data = [np.ones((2, 4)), np.ones((2, 2)), np.ones((3, 4)), np.ones((3, 2))]
    option = {name: (value,) if name == "precision_at" else value}
    with pytest.raises(ValueError, match=f"^{name}: expected an integer of 1 or more"):
        evaluate_retrieval(*data, **option)
