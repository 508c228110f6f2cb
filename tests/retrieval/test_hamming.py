import numpy as np
import pytest

from cgat_jax.retrieval import hamming
from cgat_jax.retrieval.hamming import hamming_distances, pack_codes, pack_labels
from tests import golden
from tests.reference import retrieval as reference

WIDTHS = [1, 7, 8, 16, 31, 32, 64, 65, 127, 128, 129, 300]


def test_golden_distances():
    distances = hamming_distances(np.sign(golden.CODES), np.sign(golden.U))
    np.testing.assert_array_equal(distances[0], [3, 7, 7, 9, 9, 8, 9, 9])


@pytest.mark.parametrize("num_bits", WIDTHS)
@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1), (0,)])
def test_distances_equal_the_scalar_product(rng, num_bits, entries):
    queries = rng.choice(entries, size=(5, num_bits))
    database = rng.choice(entries, size=(23, num_bits))
    expected = [reference.distances(query, database) for query in queries]
    np.testing.assert_array_equal(hamming_distances(queries, database), expected)


@pytest.mark.parametrize("num_bits", [32, 127, 128])
def test_opposite_codes_are_as_far_as_possible(num_bits):
    ones = np.ones((1, num_bits))
    with_zero = np.concatenate([-ones, 0 * ones])
    np.testing.assert_array_equal(
        hamming_distances(ones, with_zero), [[num_bits, num_bits / 2]]
    )


def test_zeros_on_one_side_only(rng):
    queries, database = rng.choice([-1, 1], size=(4, 9)), np.zeros((3, 9))
    np.testing.assert_array_equal(
        hamming_distances(queries, database), np.full((4, 3), 4.5)
    )
    np.testing.assert_array_equal(
        hamming_distances(database, queries), np.full((3, 4), 4.5)
    )


@pytest.mark.parametrize("entries", [(-1, 1), (-1, 0, 1)])
def test_large_databases_are_compared_in_blocks(rng, monkeypatch, entries):
    codes = rng.choice(entries, size=(50, 70))
    expected = hamming_distances(codes[:3], codes)
    monkeypatch.setattr(hamming, "BLOCK_ITEMS", 7)
    np.testing.assert_array_equal(hamming_distances(codes[:3], codes), expected)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int64, np.float16, np.float32, np.float64]
)
def test_numeric_types_pack_alike(rng, dtype):
    codes = rng.choice([-1, 0, 1], size=(6, 40))
    for mine, theirs in zip(
        pack_codes(codes.astype(dtype)), pack_codes(codes), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_many_rows_pack_like_few(rng, monkeypatch):
    codes = rng.choice([-1, 0, 1], size=(50, 70))
    expected = pack_codes(codes)
    monkeypatch.setattr(hamming, "CHUNK_ROWS", 7)
    for mine, theirs in zip(pack_codes(codes), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("num_classes", [1, 8, 21, 38, 64, 80, 128, 130])
def test_shared_labels(rng, num_classes):
    labels = rng.random((40, num_classes)) < 1.5 / num_classes
    packed = pack_labels(labels)
    expected = labels.astype(int) @ labels.T.astype(int) > 0
    for query, row in enumerate(expected):
        shared = hamming.share_a_label(packed, packed[:, query])
        np.testing.assert_array_equal(shared, row)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2, 0.5])
def test_other_entries_are_refused_with_their_place(bad):
    codes = np.ones((4, 3))
    codes[2, 1] = bad
    with pytest.raises(
        ValueError, match=rf"mine: .* -1, 0, 1; got {bad}.* at \[2, 1\]"
    ):
        pack_codes(codes, "mine")


@pytest.mark.parametrize(
    "codes", [np.ones(3), np.ones((0, 3)), np.ones((3, 0)), np.ones((1, 2, 3))]
)
def test_other_shapes_are_refused(codes):
    with pytest.raises(ValueError, match="codes: .*got shape"):
        pack_codes(codes)


@pytest.mark.parametrize(
    "codes",
    [
        np.ones((2, 3), bool),  # and bits, of which a 0 would be no -1 but a 0
        np.unpackbits(np.ones((2, 3), np.uint8), axis=1),
        np.ones((2, 3), np.uint64),
        np.full((2, 3), "1"),
    ],
)
def test_other_types_are_refused(codes):
    with pytest.raises(ValueError, match=r"codes: expected numbers .*2 \* bits"):
        pack_codes(codes)
    with pytest.raises(ValueError, match="labels: expected 0 or 1"):
        pack_labels(codes.astype(str))


def test_codes_of_another_length_are_refused():
    with pytest.raises(ValueError, match="database_codes: expected 3 columns; got 4"):
        hamming_distances(np.ones((2, 3)), np.ones((2, 4)))
