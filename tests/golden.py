"""The toy of the golden numbers: closed-form arrays, float64, no random numbers."""

import jax.numpy as jnp
import numpy as np

from cgat_jax.types import Bank, Batch

_i8, _i4, _k = np.arange(8)[:, None], np.arange(4)[:, None], np.arange(16)[None]
U = np.tanh(1.3 * np.sin(0.7 * _i8**2 + 1.9 * _k + 0.3 * _i8 * _k + 0.3))
CODES = np.tanh(1.1 * np.cos(0.9 * _i4**2 + 1.7 * _k + 0.2 * _i4 * _k + 0.5))
_a, _c = np.arange(8)[:, None], np.arange(5)[None]
BANK_LABELS = ((3 * _a + 5 * _c + _a * _c) % 7 < 2).astype(np.float64)
INDEX = np.array([0, 3, 5, 6])
LABELS = BANK_LABELS[INDEX]


def batch(pad: int = 0) -> Batch:
    """The toy's batch of four, with ``pad`` padded rows behind it."""
    return Batch(
        images=jnp.zeros((4 + pad, 1, 1, 3)),
        labels=jnp.array(np.pad(LABELS, ((0, pad), (0, 0)))),
        indices=jnp.array(np.append(INDEX, [8] * pad), jnp.int32),
        mask=jnp.arange(4 + pad) < 4,
    )


def bank() -> Bank:
    """The toy's relaxed bank U."""
    return Bank(codes=jnp.array(U), labels=jnp.array(BANK_LABELS))
