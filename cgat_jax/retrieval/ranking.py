"""Stable ranking of a database, by distance and then position, by counting.

Distances are small integers, so that no sort has to compare: a counting sort puts the
items of each distance one after the other in database order. SciPy does one when it
turns a sparse matrix of one row, with an entry for each item in the column of its
distance, from rows to columns. What is moved along is a byte that says whether the
item is relevant; which item it was, no measure asks.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt
from scipy.sparse import csr_array

Distances = UInt[np.ndarray, " M"]


class Ranked(NamedTuple):
    """What the measures of a ranking follow from.

    Attributes:
        ranks: sorted ranks, from 1, of the relevant items.
        ends: how many items are at each distance or nearer, from the nearest item's
            distance to the farthest's.
    """

    ranks: Int64[np.ndarray, " R"]
    ends: Int64[np.ndarray, " G"]


class Ranker:
    """Ranks databases of one size, in room that it uses again; not for two threads."""

    def __init__(self, num_items: int, max_distance: int):
        """Room for ``num_items`` and distances up to ``max_distance``."""
        shape = 1, max_distance + 1
        nothing = np.zeros(num_items, np.int8), np.zeros(num_items, np.int32)
        self._items = csr_array((*nothing, [0, num_items]), shape=shape)

    def rank(self, distances: Distances, chosen: Bool[np.ndarray, " M"]) -> Ranked:
        """Ranks of the chosen items among all, exact.

        Args:
            distances: distance keys, see ``hamming.distance_keys``.
            chosen: which items are asked for.
        """
        np.copyto(self._items.indices, distances, casting="unsafe")
        self._items.data = chosen.view(np.int8)
        by_distance = self._items.tocsc()
        ranks = np.flatnonzero(by_distance.data.view(bool))
        ranks += 1
        ends = by_distance.indptr[1:].astype(np.int64)
        first, last = np.searchsorted(ends, [1, len(distances)])
        return Ranked(ranks, ends[first : last + 1])


def nearest(distances: Distances, count: int) -> Int64[np.ndarray, " count"]:
    """Database positions of the ``count`` nearest items (or of all), nearest first."""
    low, high = int(distances.min()), int(distances.max())
    while low < high:  # the smallest radius that holds so many
        radius = (low + high) // 2
        enough = np.count_nonzero(distances <= radius) >= count
        low, high = (low, radius) if enough else (radius + 1, high)
    near = np.flatnonzero(distances <= high)
    order = np.argsort(distances.take(near), kind="stable")
    return near.take(order[:count])
