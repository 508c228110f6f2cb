"""What a ranking scores without any information, and the most that one can score."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from cgat_jax.data.dataset import Split
from cgat_jax.retrieval.label_sets import relevant_shares


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
    ``evaluate_retrieval`` reports it.
    """
    shares = relevant_shares(query_labels, database_labels)
    return Bounds(
        chance=float(shares.mean()),
        ceiling=float((shares > 0).mean()),
        unanswerable=int((shares == 0).sum()),
    )


def chance_line(labels: np.ndarray, split: Split) -> str:
    """A line on chance and ceiling of a split."""
    bounds = map_bounds(labels[split.query], labels[split.database])
    return f"chance MAP {bounds.chance:.4f}, ceiling {bounds.ceiling:.4f}"
