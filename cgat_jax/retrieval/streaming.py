"""A retrieval problem, checked and packed once, and a stream of its queries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from cgat_jax.retrieval import hamming
from cgat_jax.retrieval.hamming import PackedCodes, Table, Words
from cgat_jax.retrieval.summary import positive_integer

QUERIES_PER_TASK = 32
Result = TypeVar("Result")


class Retrieval(NamedTuple):
    """Packed queries and database, and the largest distance key there can be."""

    query_codes: PackedCodes
    query_labels: Words
    database_codes: PackedCodes
    database_labels: Words
    max_distance: int


def pack_retrieval(
    query_codes: Table,
    query_labels: Table,
    database_codes: Table,
    database_labels: Table,
) -> Retrieval:
    """Packs both sets, and checks that they fit together.

    Args:
        query_codes: [Q, K] in {-1, 0, +1}.
        query_labels: [Q, C] in {0, 1}.
        database_codes: [M, K] in {-1, 0, +1}.
        database_labels: [M, C] in {0, 1}.

    Raises:
        ValueError: another shape or entry; the message names the argument.
    """
    tables = {
        "query_codes": hamming.as_table(query_codes, "query_codes"),
        "query_labels": hamming.as_table(query_labels, "query_labels"),
        "database_codes": hamming.as_table(database_codes, "database_codes"),
        "database_labels": hamming.as_table(database_labels, "database_labels"),
    }
    for kind in ("codes", "labels"):
        queries, database = tables[f"query_{kind}"], tables[f"database_{kind}"]
        hamming.check_equal(
            f"database_{kind}", "columns", queries.shape[1], database.shape[1]
        )
    for side in ("query", "database"):
        codes, labels = tables[f"{side}_codes"], tables[f"{side}_labels"]
        hamming.check_equal(f"{side}_labels", "rows", len(codes), len(labels))
    queries = hamming.pack_codes(tables["query_codes"], "query_codes")
    database = hamming.pack_codes(tables["database_codes"], "database_codes")
    max_distance = hamming.key_scale(queries, database) * database.num_bits
    return Retrieval(
        queries,
        hamming.pack_labels(tables["query_labels"], "query_labels"),
        database,
        hamming.pack_labels(tables["database_labels"], "database_labels"),
        max_distance,
    )


def tasks_of(words: Words) -> list[list[int]]:
    """The queries, a few at a time, those with the same labels one after the other.

    Args:
        words: the packed labels of the queries.
    """
    order = np.lexsort(words).tolist()
    starts = range(0, len(order), QUERIES_PER_TASK)
    return [order[start : start + QUERIES_PER_TASK] for start in starts]


def for_each_query(
    judge: Callable[[list[int]], list[Result]],
    tasks: list[list[int]],
    threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """What ``judge`` returns for the queries 0, 1, ..., in this order.

    Args:
        judge: from the rows of a task's queries to their results; NumPy releases the
            lock inside it.
        tasks: the rows of all queries, each once.
        threads: tasks judged at the same time, 1 or more.
        progress: called as ``progress(done, num_queries)`` after every task.
    """
    num_queries = sum(map(len, tasks))
    results, done = [None] * num_queries, 0
    with ThreadPoolExecutor(positive_integer("threads", threads)) as pool:
        for task, judged in zip(tasks, pool.map(judge, tasks), strict=True):
            for query, result in zip(task, judged, strict=True):
                results[query] = result
            done += len(task)
            if progress is not None:
                progress(done, num_queries)
    return results
