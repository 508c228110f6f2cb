"""From rankings to what an evaluation returns, whoever ranked."""

import itertools
import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from cgat_jax.retrieval import ranking, scores
from cgat_jax.retrieval.ties import expected_average_precision

QUERIES_AT_ONCE = 64


class Wanted(NamedTuple):
    """What is measured of rankings of ``num_database`` items."""

    num_database: int
    top_k: int
    cutoffs: Int64[np.ndarray, " P"]
    num_levels: int


def wanted(
    num_database: int, top_k: int, precision_at: Sequence[int], recall_levels: int
) -> Wanted:
    """What ``evaluate_retrieval`` is asked for, checked and clipped to the database.

    Raises:
        ValueError: a number below 1; the message names the argument.
    """
    top_k = min(positive_integer("top_k", top_k), num_database)
    cutoffs = [positive_integer("precision_at", cutoff) for cutoff in precision_at]
    cutoffs = np.array([n for n in cutoffs if n <= num_database], np.int64)
    num_levels = positive_integer("recall_levels", recall_levels)
    return Wanted(num_database, top_k, cutoffs, num_levels)


def measure(rankings: Iterable[ranking.Ranked], wanted: Wanted) -> list[tuple]:
    """What is measured of each query; of some at a time it takes less time."""
    rows = (_measure_ranks(*ranked, wanted) for ranked in rankings)
    measured = []
    while some := list(itertools.islice(rows, QUERIES_AT_ONCE)):
        *columns, hit_ends, ends = zip(*some, strict=True)
        ends, hit_ends = np.stack(ends), np.stack(hit_ends)
        expected = expected_average_precision(ends, hit_ends, wanted.top_k)
        squares = np.square(np.diff(ends, prepend=0), dtype=np.float64).sum(axis=1)
        ties = squares / wanted.num_database
        measured += zip(*columns, expected, ties, strict=True)
    return measured


def _measure_ranks(ranks: np.ndarray, ends: np.ndarray, wanted: Wanted) -> tuple:
    precisions = scores.precisions_at_hits(ranks)
    num_top_hits = np.searchsorted(ranks, wanted.top_k, side="right")
    curve = None
    if len(ranks):
        curve = scores.precision_at_recall(ranks, wanted.num_levels)
    return (
        len(ranks),
        scores.mean_or_0(precisions[:num_top_hits]),
        scores.mean_or_0(precisions),
        scores.precision_at(ranks, wanted.cutoffs),
        curve,
        np.searchsorted(ranks, ends, side="right"),
        ends,
    )


def summarize(measured: list[tuple], wanted: Wanted) -> scores.RetrievalScores:
    """The scores of all queries, from what ``measure`` returned of each."""
    columns = zip(*measured, strict=True)
    counts, top, whole, precisions, curves, expected, ties = columns
    num_relevant, levels = np.array(counts, np.int64), wanted.num_levels
    curves = [curve for curve in curves if curve is not None]
    return scores.RetrievalScores(
        map=float(np.mean(top)),
        map_all=float(np.mean(whole)),
        map_expected=float(np.mean(expected)),
        average_precision=np.array(top),
        precision_at=np.mean(precisions, axis=0),
        precision_cutoffs=wanted.cutoffs,
        pr_curve=np.mean(curves, axis=0) if curves else np.zeros(levels),
        recall_levels=np.arange(1, levels + 1) / levels,
        chance=float(num_relevant.mean() / wanted.num_database),
        ceiling=float((num_relevant > 0).mean()),
        num_relevant=num_relevant,
        num_queries_without_relevant=int((num_relevant == 0).sum()),
        num_queries=len(measured),
        num_database=wanted.num_database,
        top_k=wanted.top_k,
        tie_size=float(np.mean(ties)),
    )


def positive_integer(name: str, value: object) -> int:
    """The value as an int; a ValueError that names it unless it is 1 or more."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name}: expected an integer of 1 or more; got {value!r}")
    return number
