"""Average precision in expectation over the orders that ties leave open."""

import functools

import numpy as np
from jaxtyping import Float64, Int64

Groups = Int64[np.ndarray, " G"]


def expected_average_precision(ends: Groups, hit_ends: Groups, top_k: int) -> float:
    """Mean of AP@top_k over all orders of the items within groups of equal distance.

    All orders of a group are equally likely, and groups are independent. Take a group
    of T items, r of them relevant, behind a nearer items with h hits. Its i-th item is
    a hit with probability r/T, and the hits up to it are then h + 1 + (i-1)(r-1)/(T-1)
    in expectation: r/T times that, over the rank a+i, is its part of AP's sum.

    The group that rank top_k falls into shows m of its T items, and a hypergeometric
    number x of its hits. AP's divisor h + x varies with x; given x, the group is one of
    m items with x hits. Where the divisor is 0, AP is 0. The result is exact but for
    rounding, about 1e-12.

    Args:
        ends: how many items are at each distance or nearer; the last is their number.
        hit_ends: how many of them are relevant.
        top_k: R, where the ranking is cut; at most the number of all.

    References:
        McSherry and Najork, Computing Information Retrieval Performance Measures
        Efficiently in the Presence of Tied Scores, ECIR 2008, which has AP over whole
        rankings; He et al., Hashing as Tie-Aware Learning to Rank, CVPR 2018.
        The cut within a group is ours.
    """
    cut = int(np.searchsorted(ends, top_k))
    sizes, hits = np.diff(ends, prepend=0), np.diff(hit_ends, prepend=0)
    nearer, hits_before = int((ends - sizes)[cut]), int((hit_ends - hits)[cut])

    whole = _sum_of_groups(sizes[:cut], hits[:cut], top_k)
    shown = top_k - nearer
    found, probabilities = _hypergeometric(int(sizes[cut]), int(hits[cut]), shown)
    places, ranks, inverses = _places(top_k)
    inverse_sum = inverses[nearer:].sum()
    place_sum = (places[:shown] / ranks[nearer:]).sum()
    hits_up_to = (hits_before + 1) * inverse_sum + (found - 1) * (
        place_sum / max(shown - 1, 1)
    )
    gains = whole + found / shown * hits_up_to
    return float((probabilities * gains / np.maximum(hits_before + found, 1)).sum())


@functools.lru_cache(maxsize=1)
def _places(count: int) -> tuple[Float64[np.ndarray, " R"], ...]:
    """0, 1, ...; 1, 2, ...; and their inverses: the same for every query."""
    places = np.arange(float(count))
    return places, places + 1, 1 / (places + 1)


def _sum_of_groups(sizes: np.ndarray, hits: np.ndarray, top_k: int) -> float:
    """Expected sum of precisions at hits over the groups before the cut."""
    num_ranked = int(sizes.sum())
    nearer = np.cumsum(sizes) - sizes
    hits_before = np.cumsum(hits) - hits
    slope = (hits - 1) / np.maximum(sizes - 1, 1)
    share = hits / np.maximum(sizes, 1)
    start = share * (hits_before + 1 - slope * nearer)
    places, ranks, _ = _places(top_k)
    hits_up_to = np.repeat(share * slope, sizes)
    hits_up_to *= places[:num_ranked]
    hits_up_to += np.repeat(start, sizes)
    hits_up_to /= ranks[:num_ranked]
    return float(hits_up_to.sum())


def _hypergeometric(
    size: int, num_hits: int, drawn: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each possible number of hits among the items drawn, and its probability.

    Ratios of neighboring probabilities are summed as logarithms: they are near 0 where
    the probability is large, so that little is rounded away.
    """
    found = np.arange(max(0, drawn - (size - num_hits)), min(num_hits, drawn) + 1)
    now = found[:-1]
    ratios = (
        (num_hits - now)
        * (drawn - now)
        / ((now + 1) * (size - num_hits - drawn + now + 1))
    )
    logs = np.append(0.0, np.cumsum(np.log(ratios)))
    probabilities = np.exp(logs - logs.max())
    return found, probabilities / probabilities.sum()
