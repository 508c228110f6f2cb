"""What a ranking scores without any information, and the most that one can score."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from cgat_jax.data.dataset import Split


class Bounds(NamedTuple):
    """Of a split: ``chance`` is the MAP of a random ranking, ``ceiling`` the best MAP.

    ``unanswerable`` queries share no label with any database image.
    """

    chance: float
    ceiling: float
    unanswerable: int


def map_bounds(
    query_labels: UInt8[np.ndarray, "Q C"], database_labels: UInt8[np.ndarray, "M C"]
) -> Bounds:
    """Chance and ceiling of MAP, from the labels alone.

    Chance is the share of relevant images, averaged over queries, as
    ``evaluate_retrieval`` reports it. Equal label rows are counted together, so that
    the largest split takes seconds.
    """
    queries, times = np.unique(query_labels, axis=0, return_counts=True)
    kinds, sizes = np.unique(database_labels, axis=0, return_counts=True)
    kinds, sizes = kinds.astype(np.float32), sizes.astype(np.float64)
    shares = np.array(
        [sizes[(kinds @ query.astype(np.float32)) > 0].sum() for query in queries]
    ) / len(database_labels)
    answerable = np.average(shares > 0, weights=times)
    return Bounds(
        chance=float(np.average(shares, weights=times)),
        ceiling=float(answerable),
        unanswerable=int(times[shares == 0].sum()),
    )


def chance_line(labels: np.ndarray, split: Split) -> str:
    """A line on chance and ceiling of a split."""
    bounds = map_bounds(labels[split.query], labels[split.database])
    return f"chance MAP {bounds.chance:.4f}, ceiling {bounds.ceiling:.4f}"
