"""Conformal p-values of several statistics at once, exact and in integers.

The clean queries and the one that is looked at are a bag of n + 1 rows. In it, a row's
rank in a statistic is the number of rows whose statistic is as large as its own. A row
is the rarer, the smaller the least of its ranks is; of rows that tie in it, the smaller
their sum is. The p-value of a query is the share of the bag that is as rare as it is or
rarer. All of this treats the rows of the bag alike; so, if the query is a clean one too
and no one could tell it from the others,

    P(p <= alpha) <= alpha    for every alpha, whatever the statistics are.

No clean query need be set apart for the combination, and their order does not matter.
The probability is over the clean queries and the query; given the clean ones, the rate
of false alarms varies around it, with n = 250 and alpha = 5 % by about 1.4 points.

References:
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, Ch. 2
    (conformal p-values of a bag); Bates et al., Testing for outliers with conformal
    p-values, Annals of Statistics 2023 (their use to find outliers).
"""

import numpy as np
from jaxtyping import Float64

from cgat_jax.errors import InputError


def conformal_p_values(
    clean: Float64[np.ndarray, "n S"], queries: Float64[np.ndarray, "q S"]
) -> tuple[Float64[np.ndarray, "q S"], Float64[np.ndarray, " q"]]:
    """The p-value of each statistic of each query, and of all of them together.

    Ties count against an alarm.

    >>> import numpy as np
    >>> clean = np.arange(19.0)[:, None]  # one statistic
    >>> each, together = conformal_p_values(clean, np.array([[18.5], [8.5]]))
    >>> together.tolist(), bool((each[:, 0] == together).all())
    ([0.05, 0.55], True)

    Args:
        clean: statistics of clean queries; larger is more unusual.
        queries: statistics of the queries that are looked at.
    """
    size, most = len(clean) + 1, (len(clean) + 1) * clean.shape[1]
    ordered = np.sort(clean, axis=0)
    above = np.stack(_columns(ordered, clean), axis=1)  # each counts itself
    ranks = 1 + np.stack(_columns(ordered, queries), axis=1)
    together = np.empty(len(queries))
    for number, (query, rank) in enumerate(zip(queries, ranks, strict=True)):
        found = np.concatenate([rank[None], above + (query >= clean)])
        rarity = found.min(axis=1) * (most + 1) + found.sum(axis=1)
        together[number] = np.count_nonzero(rarity <= rarity[0]) / size
    return ranks / size, together


def check_calibration(count: int, false_alarms: float) -> None:
    """Raises an InputError unless so many clean queries can ever raise an alarm."""
    if not 0 < false_alarms < 1:
        raise InputError(
            f"false_alarms: expected a share between 0 and 1, got {false_alarms:g}"
        )
    needed = int(np.ceil(round(1 / false_alarms - 1, 9)))
    if count < needed:
        raise InputError(
            f"clean_images: {count} of them can never raise an alarm at a rate of "
            f"{false_alarms:g}; give {needed} or more, or allow more false alarms"
        )


def _columns(ordered: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """How many rows of a sorted table are as large as each value, column by column."""
    return [
        len(column) - np.searchsorted(column, value, side="left")
        for column, value in zip(ordered.T, values.T, strict=True)
    ]
