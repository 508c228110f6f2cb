"""Evaluation of a retrieval: every query against the whole database, exactly.

Queries stream: a thread holds a few arrays of the database's length, nothing of size
queries x database. Results do not depend on the number of threads.
"""

import queue
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from cgat_jax.retrieval import hamming, ranking, scores, summary
from cgat_jax.retrieval.hamming import Table
from cgat_jax.retrieval.streaming import (
    Retrieval,
    for_each_query,
    pack_retrieval,
    tasks_of,
)
from cgat_jax.retrieval.summary import positive_integer


def evaluate_retrieval(
    query_codes: Table,
    query_labels: Table,
    database_codes: Table,
    database_labels: Table,
    *,
    top_k: int = 5000,
    precision_at: Sequence[int] = tuple(range(100, 1001, 10)),
    recall_levels: int = 100,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> scores.RetrievalScores:
    """MAP, its expectation over ties, P@N, PR curve, chance and ceiling of codes.

    Items are ranked by Hamming distance, then by database position; one is relevant if
    it shares a label with the query. For t-MAP, pass the target labels as query labels.

    >>> import numpy as np
    >>> from cgat_jax.retrieval import evaluate_retrieval
    >>> database = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])
    >>> labels = np.array([[1, 0], [0, 1], [1, 0]])  # multi-hot, two classes
    >>> found = evaluate_retrieval(database[:1], labels[:1], database, labels)
    >>> round(found.map, 4), round(found.chance, 4)  # (1/1 + 2/3) / 2, and 2 of 3
    (0.8333, 0.6667)

    Args:
        query_codes: [Q, K] in {-1, 0, +1}.
        query_labels: [Q, C] in {0, 1}.
        database_codes: [M, K] in {-1, 0, +1}.
        database_labels: [M, C] in {0, 1}.
        top_k: where AP cuts the ranking, 1 or more; clipped to the database's size.
        precision_at: cutoffs N of P@N, 1 or more; those above M are left out.
        recall_levels: number of points of the PR curve.
        threads: queries ranked at the same time.
        progress: called as ``progress(done, num_queries)`` now and then.

    Raises:
        ValueError: sets that are empty or do not fit together, entries or numbers
            out of range. The message names the argument.

    References:
        MAP@5000, P@N and the PR curve are those of the evaluation published with CgAT
        (Wang et al., WWW 2023), with ties in a defined order and queries without
        relevant items left out of the PR curve, which they break there.
    """
    retrieval = pack_retrieval(
        query_codes, query_labels, database_codes, database_labels
    )
    num_database = retrieval.database_codes.num_items
    wanted = summary.wanted(num_database, top_k, precision_at, recall_levels)
    room = queue.SimpleQueue()  # of as many threads as there are
    for _ in range(positive_integer("threads", threads)):
        room.put(ranking.Ranker(num_database, retrieval.max_distance))

    def judge(queries):
        mine = room.get()
        try:
            return summary.measure(_rank(retrieval, queries, mine), wanted)
        finally:
            room.put(mine)

    tasks = tasks_of(retrieval.query_labels)
    results = for_each_query(judge, tasks, threads, progress)
    return summary.summarize(results, wanted)


def average_precision_at(
    query_codes: Table,
    query_labels: Table,
    database_codes: Table,
    database_labels: Table,
    *,
    top_k: int = 5000,
    threads: int = 2,
) -> Float64[np.ndarray, " Q"]:
    """AP@top_k of each query alone, several times as fast as the whole evaluation.

    Equal to ``evaluate_retrieval(...).average_precision``; same arguments and errors.

    >>> import numpy as np
    >>> from cgat_jax.retrieval import average_precision_at
    >>> codes, labels = np.array([[1, 1], [1, -1], [-1, -1]]), np.eye(3, dtype=int)
    >>> average_precision_at(codes, labels, codes, labels).tolist()
    [1.0, 1.0, 1.0]
    """
    retrieval = pack_retrieval(
        query_codes, query_labels, database_codes, database_labels
    )
    top_k = positive_integer("top_k", top_k)

    def judge(queries):
        return [_average_precision(retrieval, query, top_k) for query in queries]

    tasks = tasks_of(retrieval.query_labels)
    return np.array(for_each_query(judge, tasks, threads))


def _average_precision(retrieval: Retrieval, query: int, top_k: int) -> float:
    distances = hamming.distance_keys(
        retrieval.query_codes, query, retrieval.database_codes
    )
    nearest = ranking.nearest(distances, top_k)
    relevant = hamming.share_a_label(
        retrieval.database_labels[:, nearest], retrieval.query_labels[:, query]
    )
    return scores.average_precision(np.flatnonzero(relevant) + 1)


def _rank(
    retrieval: Retrieval, queries: list[int], ranker: ranking.Ranker
) -> Iterator[ranking.Ranked]:
    """Rankings of the queries; what labels decide is kept while they are the same."""
    relevant, labels = None, None
    for query in queries:
        mine = retrieval.query_labels[:, query]
        if labels is None or (mine != labels).any():
            labels = mine
            relevant = hamming.share_a_label(retrieval.database_labels, mine)
        distances = hamming.distance_keys(
            retrieval.query_codes, query, retrieval.database_codes
        )
        yield ranker.rank(distances, relevant)
