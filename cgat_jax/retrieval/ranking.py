"""Stable ranking of a database, by distance and then position, without sorting it.

The rank of an item is the number of nearer ones, plus that of the items at its own
distance up to its position. Both are counted on bits: a word of 64 positions has for
each distance a mask of the items that lie there. Only the ranks of the relevant items
are computed and sorted, which decide every measure.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64, UInt, UInt64

BLOCK = 262_144  # positions counted at once, so that masks do not grow with a database
WORD = 64
UP_TO = (np.uint64(2) << np.arange(WORD, dtype=np.uint64)) - np.uint64(1)

Distances = UInt[np.ndarray, " M"]


class Places(NamedTuple):
    """Where some items of a block of the database are.

    Attributes:
        positions: within the block.
        words: position // 64.
        up_to: the bits of a word up to the item's own.
    """

    positions: Int64[np.ndarray, " R"]
    words: Int64[np.ndarray, " R"]
    up_to: UInt64[np.ndarray, " R"]


class Scratch(NamedTuple):
    """Room for the counts of one block, which a thread uses again and again."""

    distances: UInt[np.ndarray, " padded"]
    bits: UInt[np.ndarray, " padded"]
    masks: UInt64[np.ndarray, "2 cells"]
    counts: Int[np.ndarray, " cells"]


class Ranked(NamedTuple):
    """What the measures of a ranking follow from.

    Attributes:
        ranks: sorted ranks, from 1, of the relevant items.
        ends: how many items are at each distance or nearer, from the nearest item's
            distance to the farthest's.
    """

    ranks: Int[np.ndarray, " R"]
    ends: Int64[np.ndarray, " G"]


def places(chosen: Bool[np.ndarray, " M"]) -> list[Places]:
    """The chosen items, block by block."""
    found = []
    for start in range(0, len(chosen), BLOCK):
        positions = np.flatnonzero(chosen[start : start + BLOCK])
        up_to = UP_TO.take(positions & (WORD - 1))
        found.append(Places(positions, positions // WORD, up_to))
    return found


def scratch(num_items: int, max_distance: int) -> Scratch:
    """Room for databases of this size and distances up to ``max_distance``."""
    num_words = -(-min(num_items, BLOCK) // WORD)
    dtype, cells = np.min_scalar_type(max_distance), (max_distance + 1) * num_words
    return Scratch(
        np.zeros(num_words * WORD, dtype),
        np.empty(num_words * WORD, dtype),
        np.empty((2, cells), np.uint64),
        np.zeros(cells + 1, np.int32),
    )


def rank(distances: Distances, chosen: list[Places], room: Scratch) -> Ranked:
    """Ranks of the chosen items among all, exact.

    Args:
        distances: distance keys, see ``hamming.distance_keys``.
        chosen: the items that are asked for, by ``places``.
        room: of ``scratch``; what is in it does not matter.
    """
    lowest = int(distances.min())
    num_groups = int(distances.max()) - lowest + 1
    bounds = np.cumsum([0, *(len(items.positions) for items in chosen)])
    parts = [slice(*bounds[block : block + 2]) for block in range(len(chosen))]
    ranks = np.empty(bounds[-1], np.int32 if len(distances) < 2**31 else np.int64)
    groups = np.empty(bounds[-1], distances.dtype)
    sizes = np.empty((len(chosen), num_groups), np.int64)
    for block, (items, part) in enumerate(zip(chosen, parts, strict=True)):
        some = distances[block * BLOCK : (block + 1) * BLOCK]
        local, masks = _group_masks(some, lowest, num_groups, room)
        counts = room.counts[: masks.size + 1]
        np.copyto(counts[1:], np.bitwise_count(masks).reshape(-1))
        np.add.accumulate(counts, out=counts)
        sizes[block] = np.diff(counts[:: masks.shape[1]])

        groups[part] = local.take(items.positions)
        cells = np.multiply(groups[part], masks.shape[1], dtype=np.int64)
        cells += items.words
        same = masks.reshape(-1).take(cells)
        same &= items.up_to
        np.add(counts.take(cells), np.bitwise_count(same), out=ranks[part])

    ends = sizes.sum(axis=0).cumsum()
    ahead = ends - sizes.sum(axis=0)  # nearer items and, of all before, those as near
    ahead = ahead + sizes.cumsum(axis=0) - sizes - (sizes.cumsum(axis=1) - sizes)
    if len(chosen) > 1:  # it is 0 in a single block
        for offsets, part in zip(ahead.astype(ranks.dtype), parts, strict=True):
            ranks[part] += offsets.take(groups[part])
    ranks.sort()
    return Ranked(ranks, ends)


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


def _group_masks(
    distances: Distances, lowest: int, num_groups: int, room: Scratch
) -> tuple[UInt[np.ndarray, " padded"], UInt64[np.ndarray, "G W"]]:
    """Distances above the lowest, and for each of them the bits of the items there.

    The rows are halved bit by bit of the distance, from the highest to the lowest.
    """
    num_words = -(-len(distances) // WORD)
    local = room.distances[: num_words * WORD]
    np.subtract(distances, distances.dtype.type(lowest), out=local[: len(distances)])
    bits = room.bits[: num_words * WORD]

    valid = np.full(num_words, ~np.uint64(0))
    valid[-1] >>= np.uint64(len(local) - len(distances))
    rows, buffers = valid[None], room.masks
    for level in reversed(range((num_groups - 1).bit_length())):
        np.bitwise_and(local, local.dtype.type(1 << level), out=bits)
        plane = np.packbits(bits, bitorder="little").view(np.uint64)
        count = ((num_groups - 1) >> level) + 1
        halves = buffers[level % 2, : count * num_words].reshape(count, num_words)
        ones = halves[1::2]
        np.bitwise_and(rows[: len(ones)], plane, out=ones)
        np.bitwise_and(rows, ~plane, out=halves[::2])
        rows = halves
    return local, rows
