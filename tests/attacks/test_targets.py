import functools

import numpy as np
import pytest

from cgat_jax.attacks.targets import anchor_codes, draw_targets, hardest_codes
from cgat_jax.errors import InputError
from cgat_jax.rng import host_stream

LABELS = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]], np.uint8)


def _database(counts):
    return np.repeat(LABELS, counts, axis=0)


def test_targets_share_no_class_and_come_from_frequent_label_sets(rng):
    database = _database([12, 10, 3, 40])
    queries = np.repeat(LABELS, 50, axis=0)
    targets = draw_targets(queries, database, rng)
    assert not (queries & targets).any()
    assert targets.any(axis=1).all()
    kinds = {tuple(row) for row in targets}
    assert kinds == {(1, 0, 0), (0, 1, 0)}  # (0, 1, 1) has three images alone
    assert {tuple(row) for row in targets[150:]} == kinds  # without a class: any


def test_rare_label_sets_are_drawn_where_nothing_else_is_disjoint(rng):
    targets = draw_targets(LABELS[:1], _database([12, 2, 3, 0]), rng)
    assert tuple(targets[0]) in {(0, 1, 0), (0, 1, 1)}


def test_the_same_seed_draws_the_same_targets():
    database, queries = _database([12, 10, 11, 0]), np.repeat(LABELS, 9, axis=0)
    one, other = (
        draw_targets(queries, database, np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)


def test_a_query_that_shares_a_class_with_everything_is_named(rng):
    message = "row 1 of the list of queries .* every image .* that has a label"
    with pytest.raises(InputError, match=message):
        draw_targets(np.array([[1, 0, 0], [1, 1, 1]]), _database([5, 5, 5, 0]), rng)


@pytest.mark.parametrize("query", [[0, 0, 0], [1, 0, 1]])
def test_a_database_without_labels_is_named_as_such(query, rng):
    """A query without a label shares no class with anything."""
    with pytest.raises(InputError, match="no image of the database has a label"):
        draw_targets(np.array([query]), _database([0, 0, 0, 5]), rng)


def test_a_query_without_a_label_is_disjoint_from_all(rng):
    targets = draw_targets(np.zeros((3, 3), int), _database([2, 0, 0, 5]), rng)
    assert targets.tolist() == [[1, 0, 0]] * 3


def _stream(seed):
    return functools.partial(host_stream, seed, "hardest anchors")


def test_anchors_are_the_majority_of_images_of_exactly_that_label_set(rng):
    """Codes of a set are all alike but for noise that nine votes remove."""
    database = _database([200, 200, 200, 200])
    sets = np.array([[1, -1, 1], [-1, -1, 1], [1, 1, -1], [-1, 1, -1]])
    codes = np.repeat(sets, 200, axis=0)
    flipped = rng.random(codes.shape) < 0.05
    anchors = anchor_codes(LABELS[:3], codes * (1 - 2 * flipped), database, 9, rng)
    np.testing.assert_array_equal(anchors, sets[:3])


def test_one_image_gives_one_of_its_codes(rng):
    database = _database([4, 4, 4, 4])
    codes = rng.choice([-1, 1], (16, 6))
    for anchor, start in zip(
        anchor_codes(LABELS[:3], codes, database, 1, rng), (0, 4, 8), strict=True
    ):
        assert (codes[start : start + 4] == anchor).all(axis=1).any()


def test_the_hardest_anchor_is_the_foreign_set_that_retrieves_least():
    """Of two foreign sets, one lies beside the query's own images, one opposite."""
    labels = np.eye(3, dtype=np.uint8)
    database = np.repeat(labels, 20, axis=0)
    own, near, far = np.ones(6), np.array([1, 1, 1, 1, 1, -1]), -np.ones(6)
    codes = np.repeat(np.stack([own, near, far]).astype(np.int8), 20, axis=0)
    found = hardest_codes(
        np.repeat(labels[:1], 8, axis=0), codes, database, 60, _stream(0)
    )
    np.testing.assert_array_equal(found, np.tile(far, (8, 1)))


def test_a_query_like_everything_has_a_hardest_anchor_all_the_same(rng):
    labels = np.array([[1, 0], [1, 1]], np.uint8)
    codes = rng.choice([-1, 1], (10, 4)).astype(np.int8)
    found = hardest_codes(labels[1:], codes, labels.repeat(5, axis=0), 10, _stream(0))
    assert set(np.unique(found)) <= {-1, 1} and found.shape == (1, 4)


def test_a_querys_hardest_anchor_does_not_depend_on_the_other_queries(rng):
    labels = rng.integers(0, 2, (60, 4)).astype(np.uint8)
    codes = rng.choice([-1, 1], (60, 8)).astype(np.int8)
    whole, part = (
        hardest_codes(labels[:n], codes, labels, 60, _stream(3)) for n in (20, 5)
    )
    np.testing.assert_array_equal(whole[:5], part)


def test_a_querys_draws_are_those_of_its_own_stream(rng):
    """Each row asks once for its generator, and follows it."""
    labels = np.eye(4, dtype=np.uint8).repeat(30, axis=0)
    codes, asked = rng.choice([-1, 1], (120, 16)).astype(np.int8), []

    def stream(row, seed):
        asked.append(row)
        return host_stream(seed, "hardest anchors", row)

    found = [
        hardest_codes(labels[:9], codes, labels, 120, functools.partial(stream, seed=s))
        for s in (0, 0, 1)
    ]
    assert asked == [*range(9)] * 3
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
