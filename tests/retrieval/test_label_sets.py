"""Label sets of two lists: against every pair of images, and in little memory."""

import tracemalloc

import numpy as np
import pytest

from cgat_jax.retrieval import label_sets
from cgat_jax.retrieval.label_sets import relevant_shares, sets_meet


def labels(rng, count, classes, share=0.2):
    return (rng.random((count, classes)) < share).astype(np.uint8)


@pytest.mark.parametrize("cells", [1, 50, 2**22])
def test_against_every_pair(rng, monkeypatch, cells):
    monkeypatch.setattr(label_sets, "_CELLS", cells)
    queries, database = labels(rng, 30, 7), labels(rng, 90, 7)
    pairs = np.array([[(q & d).any() for d in database] for q in queries])
    np.testing.assert_array_equal(sets_meet(queries, database), pairs)
    np.testing.assert_array_equal(
        relevant_shares(queries, database), pairs.mean(axis=1)
    )
    assert not queries.any(axis=1).all() and not database.any(axis=1).all()


def test_more_than_256_common_labels_are_some(rng):
    """A sum of so many ones is 0 in the labels' own uint8."""
    ones = np.ones((1, 512), np.uint8)
    assert sets_meet(ones, ones).all() and relevant_shares(ones, ones) == 1


def test_no_table_of_all_queries_and_all_images_is_made(rng):
    """It filled the memory before a worst case: 8 bytes a pair of images."""
    queries, database = labels(rng, 2_000, 24, 0.5), labels(rng, 60_000, 24, 0.5)
    tracemalloc.start()
    try:
        shares = relevant_shares(queries, database)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6 < queries.shape[0] * database.shape[0]
    assert shares[7] == (database & queries[7]).any(axis=1).mean()
