"""Measures of one ranking, and what an evaluation returns.

All of them follow from the ranks of a query's relevant items: 1 is the nearest.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64

HitRanks = Int[np.ndarray, " num_hits"]


class RetrievalScores(NamedTuple):
    """How well codes retrieve, all in [0, 1]; ties are in database order.

    Attributes:
        map: MAP@top_k: the mean of ``average_precision`` over all queries. AP divides
            by the relevant items within the first top_k; a query without any counts 0.
        map_all: MAP of the whole ranking.
        map_expected: mean of MAP@top_k over all orders of items at equal distance.
        average_precision: [Q] AP@top_k of each query.
        precision_at: [P] precision of the first N, mean over all queries.
        precision_cutoffs: [P] each N; those above the database's size are left out.
        pr_curve: [L] precision at each recall level, mean over the queries that have
            relevant items: ``num_queries_without_relevant`` are skipped; 0 if all are.
        recall_levels: [L] 1/L, 2/L, ..., 1.
        chance: expected precision, at any N, of codes that know nothing: the mean share
            of the database that is relevant to a query (0 for a query without labels).
            The MAP@top_k of such codes is slightly above it, as AP divides by the hits.
        ceiling: share of queries with any relevant item: the MAP of perfect codes.
        num_relevant: [Q] relevant items of each query in the whole database.
        num_queries_without_relevant: how many of them are 0.
        num_queries: Q.
        num_database: M.
        top_k: R, where MAP and AP cut; no more than the size of the database.
        tie_size: how many items lie at an item's distance from a query, itself
            included: the mean over all items and queries, from 1 (no ties) to M.
    """

    map: float
    map_all: float
    map_expected: float
    average_precision: Float64[np.ndarray, " Q"]
    precision_at: Float64[np.ndarray, " P"]
    precision_cutoffs: Int64[np.ndarray, " P"]
    pr_curve: Float64[np.ndarray, " L"]
    recall_levels: Float64[np.ndarray, " L"]
    chance: float
    ceiling: float
    num_relevant: Int64[np.ndarray, " Q"]
    num_queries_without_relevant: int
    num_queries: int
    num_database: int
    top_k: int
    tie_size: float


def average_precision(ranks: HitRanks) -> float:
    """Mean over the hits of (hits so far) / rank; 0 without hits.

    Args:
        ranks: sorted ranks of the relevant items within the part that is judged.
    """
    return mean_or_0(precisions_at_hits(ranks))


def precisions_at_hits(ranks: HitRanks) -> Float64[np.ndarray, " num_hits"]:
    """(Hits so far) / rank, at each hit."""
    return np.arange(1.0, len(ranks) + 1) / ranks


def mean_or_0(values: Float64[np.ndarray, " n"]) -> float:
    """The mean, and 0 of nothing."""
    return float(values.mean()) if len(values) else 0.0


def precision_at(
    ranks: HitRanks, cutoffs: Int64[np.ndarray, " P"]
) -> Float64[np.ndarray, " P"]:
    """Share of relevant items among the first N, for each cutoff N."""
    return np.searchsorted(ranks, cutoffs, side="right") / cutoffs


def precision_at_recall(ranks: HitRanks, num_levels: int) -> Float64[np.ndarray, " L"]:
    """Precision at the rank where recall 1/L, 2/L, ..., 1 is reached.

    Level l of L asks for n = floor(l * relevant / L) hits, but for one at least; the
    precision is n over the rank of the n-th hit. n is exact: in floating point, 0.29 of
    100 items would be 28.

    Args:
        ranks: sorted ranks of all relevant items of the database, one at least.
        num_levels: L.
    """
    counts = np.arange(1, num_levels + 1) * len(ranks) // num_levels
    counts = np.maximum(counts, 1)
    return counts / ranks[counts - 1]
