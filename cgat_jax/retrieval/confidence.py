"""How sure a mean over queries is, and whether codes have collapsed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from cgat_jax.rng import host_stream

LEVEL, RESAMPLES = 0.95, 2_000
_BLOCK = 200  # resamples drawn at once


def bootstrap_interval(
    values: Float64[np.ndarray, " Q"], *, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of ``values`` over queries drawn anew.

    Percentiles 2.5 and 97.5 of the means of 2,000 resamples with replacement. It tells
    what other queries of the same kind would change, not what another training would.

    >>> import numpy as np
    >>> from cgat_jax.retrieval import bootstrap_interval
    >>> values = np.linspace(0, 1, 101)  # of mean 0.5
    >>> low, high = bootstrap_interval(values)
    >>> 0.4 < low < 0.5 < high < 0.6
    True

    Raises:
        ValueError: there are no values.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, Ch. 13.
    """
    if not len(values):
        raise ValueError("values: expected one or more; got none")
    rng, means = host_stream(seed, "bootstrap"), []
    for _ in range(RESAMPLES // _BLOCK):
        drawn = rng.integers(0, len(values), (_BLOCK, len(values)))
        means.append(values[drawn].mean(axis=1))
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), tails)
    return float(low), float(high)


class CodeUsage(NamedTuple):
    """How much of their space codes use; collapsed codes fake robustness.

    ``unique`` is the share of distinct codes; ``entropy`` the mean entropy of a bit in
    bits, 1 where each bit is as often +1 as -1; ``constant`` the share of bits that are
    the same in all codes.
    """

    unique: float
    entropy: float
    constant: float


def code_usage(codes: np.ndarray) -> CodeUsage:
    """Usage of codes in {-1, 0, +1}, [M, K]; a bit of 0 counts as half of each sign.

    >>> import numpy as np
    >>> from cgat_jax.retrieval import code_usage
    >>> code_usage(np.array([[1, 1], [-1, 1], [1, 1], [-1, 1]]))
    CodeUsage(unique=0.5, entropy=0.5, constant=0.5)

    References:
        Tian et al., CA-TRIDE, ICML 2024 (collapse behind apparent robustness).
    """
    ones = (codes.mean(axis=0, dtype=np.float64) + 1) / 2
    share = np.clip(np.stack([ones, 1 - ones]), 1e-300, 1)
    entropy = -(share * np.log2(share)).sum(axis=0)
    return CodeUsage(
        unique=len(np.unique(codes, axis=0)) / len(codes),
        entropy=float(np.abs(entropy).mean()),
        constant=float((codes == codes[:1]).all(axis=0).mean()),
    )
