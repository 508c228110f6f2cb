import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.losses import csq
from cgat_jax.losses.csq import hash_centers, make_csq
from cgat_jax.types import Bank, Batch
from tests.losses import toy
from tests.reference import losses as reference


def _distances(centers):
    """Hamming distances of all pairs."""
    different = (centers[:, None] != centers[None]).sum(axis=2)
    return different[np.triu_indices(len(centers), 1)]


@pytest.mark.parametrize("bits", [2, 8, 32])
@pytest.mark.parametrize("share", [0.25, 1, 2])
def test_up_to_twice_the_bits_centers_are_half_or_all_bits_apart(rng, bits, share):
    """Reference: the signs (-1)^popcount(i & j)."""
    count = max(2, int(share * bits))
    centers = hash_centers(count, bits, rng)
    np.testing.assert_array_equal(centers, reference.hadamard_centers(count, bits))
    assert set(_distances(centers)) <= {bits // 2, bits}


@pytest.mark.parametrize(("num_classes", "bits"), [(38, 16), (80, 16), (80, 32)])
def test_more_classes_get_random_balanced_codes(rng, num_classes, bits):
    """The class counts of FLICKR and COCO."""
    centers = hash_centers(num_classes, bits, rng)
    extra = centers[2 * bits :]
    assert centers.shape == (num_classes, bits)
    np.testing.assert_array_equal(
        centers[: 2 * bits], reference.hadamard_centers(2 * bits, bits)
    )
    np.testing.assert_array_equal(np.abs(extra), 1)
    np.testing.assert_array_equal((extra < 0).sum(axis=1), bits // 2)


@pytest.mark.parametrize(
    ("num_classes", "bits"), [(5, 2), (38, 16), (80, 16), (90, 32), (300, 64)]
)
def test_drawn_centers_are_those_of_all_distances_at_once(
    monkeypatch, num_classes, bits
):
    """Reference: Algorithm 1 with every distance in one table."""
    monkeypatch.setattr(csq, "BLOCK_ROWS", 7)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            half = np.repeat([1.0, -1.0], bits // 2)
            extra = [rng.permutation(half) for _ in range(num_classes - 2 * bits)]
            first = reference.hadamard_centers(2 * bits, bits)
            expected = np.concatenate([first, extra])
            distances = _distances(expected)
            if distances.min() > bits / 4 and distances.mean() >= bits / 2:
                break
        got = hash_centers(num_classes, bits, np.random.default_rng(seed))
        np.testing.assert_array_equal(got, expected)


def test_many_classes_need_no_table_of_their_pairs(rng):
    tracemalloc.start()
    centers = hash_centers(4_000, 16, rng)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert centers.shape == (4_000, 16) and peak < 4_000**2 * 3


def test_few_random_codes_keep_their_distance():
    for seed in range(10):
        distances = _distances(hash_centers(66, 32, np.random.default_rng(seed)))
        assert distances.min() > 8
        assert distances.mean() >= 16


def test_centers_follow_their_generator():
    first, same, other = (
        hash_centers(40, 16, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("bits", [0, 1, 12, 48])
def test_other_code_lengths_are_refused(rng, bits):
    message = f"csq needs model.bits to be a power of two from 2 on, got {bits}"
    with pytest.raises(ValueError, match=message):
        hash_centers(3, bits, rng)


def test_constants_are_signs_that_follow_the_key():
    bank = Bank(jnp.zeros((4, 8)), jnp.zeros((4, 20)))
    first, same, other = (
        make_csq().init(jax.random.key(seed), bank)[1] for seed in (0, 0, 1)
    )
    assert jax.tree.map(jnp.shape, first) == {"centers": (20, 8), "ties": (8,)}
    for name, table in first.items():
        np.testing.assert_array_equal(np.abs(table), 1)
        np.testing.assert_array_equal(table, same[name])
        assert (table != other[name]).any()


TARGETS = {  # of the classes 0; 1 and 3; 1, 2 and 3; none
    "multi": [[1, 1, 1, 1], [1, -1, 1, -1], [1, -1, -1, -1], [-1, 1, 1, -1]],
    "single": [[1, 1, 1, 1], [1, -1, 1, -1], [1, -1, 1, -1], [1, 1, 1, 1]],
}


@pytest.mark.parametrize("rule", TARGETS)
def test_targets_by_hand(x64, rule):
    """Centers are 1 1 1 1, 1 -1 1 -1, 1 1 -1 -1, 1 -1 -1 1; ties are -1 1 1 -1.

    Only at the targets the loss is 0: with any bit flipped it is large.
    """
    labels = jnp.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0]], float)
    batch = Batch(
        images=jnp.zeros((4, 1, 1, 3)),
        labels=labels,
        indices=jnp.arange(4, dtype=jnp.int32),
        mask=jnp.ones(4, bool),
    )
    bank = Bank(jnp.zeros((4, 4)), labels)
    loss, ties = make_csq(rule=rule), jnp.array([-1.0, 1.0, 1.0, -1.0])
    start = toy.tables(loss, bank, ties=ties)
    logits = 9 * jnp.array(TARGETS[rule], float)
    assert toy.value_and_gradient(loss, start, logits, batch, bank)[0] < 1e-6
    for row, bit in np.ndindex(4, 4):
        flipped = logits.at[row, bit].multiply(-1)
        assert toy.value_and_gradient(loss, start, flipped, batch, bank)[0] > 1
