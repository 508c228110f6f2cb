"""Integer arithmetic of two parts, against Python's own integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgat_jax.centers import exact

LARGEST = 2**31 - 1
counts = st.integers(0, LARGEST) | st.sampled_from([0, 1, 46_341, 2**16, LARGEST])
sums = st.integers(-LARGEST, LARGEST) | st.sampled_from([0, -1, 65_535, -LARGEST])
_sign_of_difference = jax.jit(exact.sign_of_difference)


def _signs(rows):
    columns = (jnp.array(column, jnp.int32) for column in zip(*rows, strict=True))
    return np.asarray(_sign_of_difference(*columns))


@given(
    rows=st.lists(
        st.tuples(counts.filter(bool), sums, counts, sums), min_size=9, max_size=9
    )
)
@example(rows=[(80_000, 20_000, 40_000, 40_000), (LARGEST, -1, LARGEST, -1)])
@example(rows=[(LARGEST, LARGEST, LARGEST, LARGEST), (LARGEST, -LARGEST, 0, 5)])
def test_the_sign_is_that_of_whole_numbers(rows):
    expected = [int(np.sign(float(a * b - c * d))) for a, b, c, d in rows]
    np.testing.assert_array_equal(_signs(rows), expected)


def test_the_smallest_difference_of_large_products_counts(rng):
    """a * b - c * d = +-1 or 0, where both products have up to 62 bits."""
    rows, expected = [], []
    for a in rng.integers(2**30, LARGEST - 1, 300).tolist():
        for gap in (-1, 0, 1):
            b, c, d = a - 1 + gap, a - 1, a + gap
            assert a * b - c * d == gap
            rows.append((a, b, c, d))
            expected.append(gap)
            rows.append((a, -b, c, -d))
            expected.append(-gap)
    np.testing.assert_array_equal(_signs(rows), expected)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63])
def test_sums_beyond_what_floats_count_are_made_in_parts(size, rng, monkeypatch):
    monkeypatch.setattr(exact, "_EXACT_ROWS", 16)
    weights, values = rng.integers(0, 2, (3, size)), rng.integers(-1, 2, (size, 5))
    got = exact.integer_sums(*(jnp.array(x, jnp.float32) for x in (weights, values)))
    np.testing.assert_array_equal(got, weights @ values)
    assert got.dtype == jnp.int32
