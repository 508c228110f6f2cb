"""Average precision in expectation over the orders that ties leave open."""

import functools

import numpy as np
from jaxtyping import Float64, Int64

Groups = Int64[np.ndarray, "Q G"]
Numbers = Int64[np.ndarray, " Q"]


def expected_average_precision(
    ends: Groups, hit_ends: Groups, top_k: int
) -> Float64[np.ndarray, " Q"]:
    """Mean of AP@top_k over all orders of the items within groups of equal distance.

    All orders of a group are equally likely, and groups are independent. Take a group
    of T items, r of them relevant, behind a nearer items with h hits. Its i-th item is
    a hit with probability r/T, and the hits up to it are then h + 1 + (i-1)(r-1)/(T-1)
    in expectation: r/T times that, over the rank a+i, is its part of AP's sum.

    The group that rank top_k falls into shows m of its T items, and a hypergeometric
    number x of its hits. AP's divisor h + x varies with x; given x, the group is one of
    m items with x hits. Where the divisor is 0, AP is 0. The result is exact but for
    rounding, about 1e-12; a query's is the same whatever other queries or empty
    groups are beside it.

    Args:
        ends: how many items are at each distance or nearer, a row a query; the last is
            their number.
        hit_ends: how many of them are relevant.
        top_k: R, where the ranking is cut; at most the number of all.

    References:
        McSherry and Najork, Computing Information Retrieval Performance Measures
        Efficiently in the Presence of Tied Scores, ECIR 2008, which has AP over whole
        rankings; He et al., Hashing as Tie-Aware Learning to Rank, CVPR 2018.
        The cut within a group is ours.
    """
    sizes, hits = np.diff(ends, prepend=0), np.diff(hit_ends, prepend=0)
    hits_before = hit_ends - hits
    starts, stops = np.minimum(ends - sizes, top_k), np.minimum(ends, top_k)
    shown = stops - starts
    inverses = _sums_of_inverse_ranks(starts, stops, top_k)
    places = shown - (starts + 1) * inverses  # sums of (i-1)/rank
    gains = _gain(hits, sizes, hits_before, inverses, places)

    rows, cut = np.arange(len(ends)), np.argmax(ends >= top_k, axis=1)
    whole = np.cumsum(gains, axis=1)[rows, cut - 1] * (cut > 0)
    found, probabilities = _hypergeometric(
        *(x[rows, cut] for x in (sizes, hits, shown))
    )
    at_cut = shown, hits_before, inverses, places
    shown, hits_before, inverses, places = (x[rows, cut, None] for x in at_cut)
    gains = whole[:, None] + _gain(found, shown, hits_before, inverses, places)
    return _sum(probabilities * gains / np.maximum(hits_before + found, 1))


def _sums_of_inverse_ranks(starts: Groups, stops: Groups, top_k: int) -> np.ndarray:
    """1/(start+1) + ... + 1/stop; of a group without items anything."""
    bounds = np.stack([starts, stops], axis=-1)
    sums = np.add.reduceat(_inverse_ranks(top_k), bounds.ravel())
    return sums[::2].reshape(starts.shape)


@functools.lru_cache(maxsize=1)
def _inverse_ranks(count: int) -> Float64[np.ndarray, " R"]:
    """1, 1/2, ..., 1/count, and 0: the same for every query."""
    return np.append(1 / np.arange(1.0, count + 1), 0.0)


def _gain(hits, sizes, hits_before, inverses, places):
    """Expected sum of precisions at the hits of groups that are shown as a whole.

    Args:
        hits: r.
        sizes: T.
        hits_before: h.
        inverses: sums of 1/rank over the groups.
        places: sums of (i-1)/rank over the groups.
    """
    slopes = (hits - 1) / np.maximum(sizes - 1, 1)
    return (
        hits / np.maximum(sizes, 1) * ((hits_before + 1) * inverses + slopes * places)
    )


def _hypergeometric(
    sizes: Numbers, num_hits: Numbers, drawn: Numbers
) -> tuple[Int64[np.ndarray, "Q F"], Float64[np.ndarray, "Q F"]]:
    """Numbers of hits that may be among the items drawn, and their probabilities.

    Hits and draws may change places, so that Hoeffding's bound holds with the smaller
    of the two as n: the numbers further from the mean than 5 sqrt(n), which are left
    out, have together a probability below 4e-22. Ratios of neighboring probabilities
    are summed as logarithms: they are near 0 where the probability is large, so that
    little is rounded away.
    """
    mean = drawn * num_hits / sizes
    reach = 5 * np.sqrt(np.minimum(drawn, num_hits))
    least = np.floor(np.maximum(mean - reach, 0)).astype(np.int64)
    least = np.maximum(least, drawn - (sizes - num_hits))
    most = np.ceil(mean + reach).astype(np.int64)
    most = np.minimum(most, np.minimum(num_hits, drawn))[:, None]
    found = least[:, None] + np.arange(np.ptp([least, most[:, 0]], axis=0).max() + 1)

    sizes, num_hits, drawn = sizes[:, None], num_hits[:, None], drawn[:, None]
    now = found[:, :-1]
    below = (now + 1) * (sizes - num_hits - drawn + now + 1)
    above = np.where(now < most, (num_hits - now) * (drawn - now), below)
    logs = np.cumsum(np.log(above / below), axis=1)
    logs = np.concatenate([np.zeros_like(mean)[:, None], logs], axis=1)
    probabilities = np.exp(logs - logs.max(axis=1, keepdims=True)) * (found <= most)
    return found, probabilities / _sum(probabilities)[:, None]


def _sum(values: Float64[np.ndarray, "Q F"]) -> Float64[np.ndarray, " Q"]:
    """Row sums one after the other, so that zeros at their end change no rounding."""
    return np.cumsum(values, axis=1)[:, -1]
