"""Stable ranking of a database, by distance and then position, by counting.

Distances are small integers, so that no sort has to compare: a counting sort puts the
items of each distance one after the other in database order. SciPy does one when it
puts the entries of a sparse matrix together row by row: one for each item, in the row
of its distance. What is moved along is a byte that says whether the item is relevant;
which item it was, no measure asks.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt
from scipy.sparse import coo_array

Distances = UInt[np.ndarray, " M"]


class Ranked(NamedTuple):
    """What the measures of a ranking follow from.

    Attributes:
        ranks: sorted ranks, from 1, of the relevant items.
        ends: how many items are at each distance or nearer, from 0 on.
    """

    ranks: Int64[np.ndarray, " R"]
    ends: Int64[np.ndarray, " G"]


class Ranker:
    """Ranks databases of one size, in room that it uses again; not for two threads."""

    def __init__(self, num_items: int, max_distance: int):
        """Room for ``num_items`` and distances up to ``max_distance``."""
        rows, columns = np.zeros((2, num_items), np.int32)
        shape = max_distance + 1, 1
        self._items = coo_array((np.zeros(num_items, np.int8), (rows, columns)), shape)
        self._items.has_canonical_format = True  # items of a row are not to be added
        self._distances = self._items.coords[0]

    def rank(self, distances: Distances, chosen: Bool[np.ndarray, " M"]) -> Ranked:
        """Ranks of the chosen items among all, exact.

        Args:
            distances: distance keys, see ``hamming.distance_keys``.
            chosen: which items are asked for.
        """
        np.copyto(self._distances, distances, casting="unsafe")
        self._items.data = chosen.view(np.int8)
        by_distance = self._items.tocsr()
        ranks = np.flatnonzero(by_distance.data.view(bool))
        ranks += 1
        return Ranked(ranks, by_distance.indptr[1:].astype(np.int64))


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
