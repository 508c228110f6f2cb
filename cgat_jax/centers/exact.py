"""Exact integer sums and comparisons where 32 bits are too few, without 64-bit types.

XLA has 64-bit integers on every device, but JAX only with its x64 mode, which would
change the types of everything else.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt

from cgat_jax.precision import full_precision

Whole = Int[Array, "..."]
_EXACT_ROWS = 2**24  # float32 counts in ones up to here
_HALF = 16


@full_precision
def integer_sums(
    weights: Float[Array, "B N"], values: Float[Array, "N K"]
) -> Int[Array, "B K"]:
    """The product of two float32 tables of -1, 0 and +1, exact for any N below 2^31."""
    total = jnp.zeros((len(weights), values.shape[1]), jnp.int32)
    for start in range(0, len(values), _EXACT_ROWS):
        rows = slice(start, start + _EXACT_ROWS)
        total += (weights[:, rows] @ values[rows]).astype(jnp.int32)
    return total


def sign_of_difference(a: Whole, b: Whole, c: Whole, d: Whole) -> Whole:
    """sign(a * b - c * d), exact.

    Args:
        a: int32, above 0.
        b: int32 of any sign.
        c: int32, at least 0.
        d: int32 of any sign.
    """
    signs = jnp.sign(b), jnp.sign(c) * jnp.sign(d)
    high, low = _product(a, jnp.abs(b))
    other_high, other_low = _product(c, jnp.abs(d))
    larger = _compare(high, other_high)
    larger = jnp.where(larger == 0, _compare(low, other_low), larger)
    apart = jnp.sign(signs[0] - signs[1])
    return jnp.where(signs[0] == signs[1], signs[0] * larger, apart)


def _product(a: Whole, b: Whole) -> tuple[UInt[Array, "..."], UInt[Array, "..."]]:
    """High and low 32 bits of a product of numbers from 0 to 2^31 - 1."""
    (a1, a0), (b1, b0) = _halves(a), _halves(b)
    middle = a1 * b0 + a0 * b1  # two numbers below 2^31
    lowest = a0 * b0
    low = lowest + (middle << _HALF)
    carry = (low < lowest).astype(jnp.uint32)
    return a1 * b1 + (middle >> _HALF) + carry, low


def _halves(number: Whole) -> tuple[UInt[Array, "..."], UInt[Array, "..."]]:
    number = number.astype(jnp.uint32)
    return number >> _HALF, number & (2**_HALF - 1)


def _compare(a: UInt[Array, "..."], b: UInt[Array, "..."]) -> Whole:
    return (a > b).astype(jnp.int32) - (a < b).astype(jnp.int32)
