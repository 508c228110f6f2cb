"""Ranked on a device or in NumPy: no score may differ in any bit."""

import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import device_retrieval, retrieval
from tests.reference import retrieval as reference


def random_set(rng, num_bits, num_classes, entries, sizes):
    """Few distinct codes, so that ties abound; some rows have no label."""
    pool = rng.choice(entries, size=(12, num_bits))
    codes = [pool[rng.integers(0, 12, size)] for size in sizes]
    labels = [(rng.random((n, num_classes)) < 1 / num_classes) for n in sizes]
    return codes[0], labels[0].astype(int), codes[1], labels[1].astype(int)


def on_device(data):
    return [jnp.asarray(table) for table in data]


@pytest.mark.slow
@pytest.mark.parametrize("key_bits", [32, 8])  # 8: distance and relevance apart
@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1)])
@pytest.mark.parametrize(
    "num_bits, num_classes, sizes",
    [
        (1, 1, (1, 1)),
        (16, 8, (9, 150)),
        (65, 21, (7, 64)),
        (128, 40, (5, 513)),
    ],
)
def test_scores_equal_those_in_numpy(
    rng, monkeypatch, num_bits, num_classes, sizes, entries, key_bits
):
    monkeypatch.setattr(device_retrieval, "KEY_BITS", key_bits)
    device_retrieval._rank.clear_cache()
    data = random_set(rng, num_bits, num_classes, entries, sizes)
    options = {"top_k": 40, "precision_at": (1, 7, 60), "recall_levels": 20}
    expected = retrieval.evaluate_retrieval(*data, **options)
    for pairs in (1, 3 * sizes[1], 2**20):  # blocks of 1, of 3 and of all queries
        scores = device_retrieval.evaluate_retrieval(
            *on_device(data), **options, pairs=pairs
        )
        for mine, theirs in zip(scores, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    device_retrieval._rank.clear_cache()


@pytest.mark.parametrize("top_k", [1, 40, 5000])
def test_average_precision_is_bit_equal_to_the_definition(rng, top_k):
    data = random_set(rng, 24, 6, (-1, 0, 1), (9, 150))
    expected = reference.all_average_precisions(*data, top_k)
    found = device_retrieval.average_precision_at(*on_device(data), top_k=top_k)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "argument, index, value, message",
    [
        ("query_labels", 1, np.ones((3, 2)), "expected 2 rows; got 3"),
        ("database_codes", 2, np.ones((3, 5)), "expected 4 columns; got 5"),
        ("database_codes", 2, np.full((3, 4), np.nan), "expected entries -1, 0, 1"),
        ("query_codes", 0, np.ones((0, 4)), r"not empty; got shape \(0, 4\)"),
        ("query_codes", 0, np.ones((2, 4), np.uint8), r"; got uint8 \(bits become"),
        ("database_codes", 2, np.ones((3, 4), bool), r"; got bool \(bits become"),
        ("query_labels", 1, np.full((2, 2), 2), "expected entries 0, 1"),
        ("top_k", None, 0, "expected an integer of 1 or more"),
    ],
)
def test_bad_arguments_are_refused(argument, index, value, message):
    data = [np.ones((2, 4)), np.ones((2, 2)), np.ones((3, 4)), np.ones((3, 2))]
    options = {}
    if index is None:
        options[argument] = value
    else:
        data[index] = value
    for evaluate in ("evaluate_retrieval", "average_precision_at"):
        with pytest.raises(ValueError, match=f"^{argument}: .*{message}"):
            getattr(device_retrieval, evaluate)(*on_device(data), **options)
