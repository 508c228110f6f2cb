"""Retrieval where the codes are: ranked on their device, measured on the host.

``evaluate_retrieval`` and ``average_precision_at`` return what those of
``cgat_jax.retrieval`` do, bit for bit: a device sorts in integers, and what comes back
are the relevances in the order of the ranking, a bit an item. On a CPU the library in
NumPy is several times as fast; this is for codes that an accelerator has just made.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Shaped, UInt, UInt8

from cgat_jax.precision import full_precision
from cgat_jax.retrieval import RetrievalScores, scores, summary
from cgat_jax.retrieval.hamming import check_equal, no_type_of_codes
from cgat_jax.retrieval.ranking import Ranked
from cgat_jax.types import similarity

KEY_BITS = 32
PAIRS = 2**26
"""Query and database items that are ranked at once, in 1 to 2 GB."""

Table = Shaped[Array, "..."]
_SIGNED = jnp.signedinteger, jnp.floating


def evaluate_retrieval(
    query_codes: Table,
    query_labels: Table,
    database_codes: Table,
    database_labels: Table,
    *,
    top_k: int = 5000,
    precision_at: Sequence[int] = tuple(range(100, 1001, 10)),
    recall_levels: int = 100,
    pairs: int = PAIRS,
) -> RetrievalScores:
    """Equal to ``cgat_jax.retrieval.evaluate_retrieval``, ranked where the codes are.

    >>> import jax.numpy as jnp
    >>> from cgat_jax.device_retrieval import evaluate_retrieval
    >>> codes = jnp.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])
    >>> labels = jnp.array([[1, 0], [0, 1], [1, 0]])
    >>> round(evaluate_retrieval(codes[:1], labels[:1], codes, labels).map, 4)
    0.8333

    Args:
        query_codes: [Q, K] in {-1, 0, +1}, of any real type that has a sign.
        query_labels: [Q, C] in {0, 1}, of any real type or bool.
        database_codes: [M, K].
        database_labels: [M, C].
        top_k: as there, and so are ``precision_at`` and ``recall_levels``.
        precision_at: cutoffs of P@N.
        recall_levels: points of the PR curve.
        pairs: query and database items ranked at once, which bounds the memory; one
            query at least.

    Raises:
        ValueError: sets that are empty or do not fit together, entries or numbers out
            of range. The message names the argument.
    """
    tables = _checked(query_codes, query_labels, database_codes, database_labels)
    wanted = summary.wanted(len(database_codes), top_k, precision_at, recall_levels)
    ranked = (
        Ranked(np.flatnonzero(hits) + 1, ends)
        for hits, ends in _rankings(tables, wanted.num_database, pairs)
    )
    return summary.summarize(summary.measure(ranked, wanted), wanted)


def average_precision_at(
    query_codes: Table,
    query_labels: Table,
    database_codes: Table,
    database_labels: Table,
    *,
    top_k: int = 5000,
    pairs: int = PAIRS,
) -> np.ndarray:
    """AP@top_k of each query, float64; arguments and errors as above.

    >>> import jax.numpy as jnp
    >>> from cgat_jax.device_retrieval import average_precision_at
    >>> codes = jnp.array([[1, 1], [1, -1], [-1, -1]])
    >>> average_precision_at(codes, jnp.eye(3), codes, jnp.eye(3)).tolist()
    [1.0, 1.0, 1.0]
    """
    tables = _checked(query_codes, query_labels, database_codes, database_labels)
    count = min(summary.positive_integer("top_k", top_k), len(database_codes))
    ranked = _rankings(tables, count, pairs)
    ranks = (np.flatnonzero(hits) + 1 for hits, _ in ranked)
    return np.array([scores.average_precision(each) for each in ranks])


def _checked(query_codes, query_labels, database_codes, database_labels):
    """The tables in float32, in which products of codes and of labels are exact."""
    tables = {
        "query_codes": query_codes,
        "query_labels": query_labels,
        "database_codes": database_codes,
        "database_labels": database_labels,
    }
    for name, table in tables.items():
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(
                f"{name}: expected [rows, columns], not empty; got shape {table.shape}"
            )
    for kind in ("codes", "labels"):
        queries, database = tables[f"query_{kind}"], tables[f"database_{kind}"]
        check_equal(f"database_{kind}", "columns", queries.shape[1], database.shape[1])
    for side in ("query", "database"):
        codes, labels = tables[f"{side}_codes"], tables[f"{side}_labels"]
        if not any(jnp.issubdtype(codes.dtype, kind) for kind in _SIGNED):
            raise no_type_of_codes(f"{side}_codes", codes.dtype)
        check_equal(f"{side}_labels", "rows", len(codes), len(labels))
    tables = {name: table.astype(jnp.float32) for name, table in tables.items()}
    for name, table in tables.items():
        allowed, unchanged = "-1, 0, 1", jnp.sign
        if name.endswith("labels"):
            allowed, unchanged = "0, 1", jnp.square
        if not bool((table == unchanged(table)).all()):  # NaN is not equal to itself
            raise ValueError(f"{name}: expected entries {allowed}; got others")
    return tuple(tables.values())


def _rankings(
    tables, count: int, pairs: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Relevance of the nearest ``count`` and the ends of the groups, query by query.

    While the host works on one block of queries, the device ranks the next.
    """
    query_codes, query_labels, codes, labels = tables
    num_queries = len(query_codes)
    size = min(num_queries, max(1, pairs // len(codes)))
    starts = range(0, num_queries, size)

    def start_block(start):
        # The last block is as long as the others, so that nothing is compiled anew.
        first = min(start, num_queries - size)
        rows = slice(first, first + size)
        block = query_codes[rows], query_labels[rows], codes, labels
        return start - first, _rank(*block, count=count)

    coming = start_block(0)
    for start in [*starts[1:], None]:
        (skip, block), coming = coming, None
        if start is not None:
            coming = start_block(start)
        packed, ends = jax.device_get(block)
        hits = np.unpackbits(packed, axis=1, count=count)
        yield from zip(hits[skip:], ends[skip:].astype(np.int64), strict=True)


@functools.partial(jax.jit, static_argnames="count")
@full_precision
def _rank(
    query_codes: Float[Array, "b K"],
    query_labels: Float[Array, "b C"],
    codes: Float[Array, "M K"],
    labels: Float[Array, "M C"],
    *,
    count: int,
) -> tuple[UInt8[Array, "b bytes"], Int[Array, "b G"]]:
    """Relevance of the nearest ``count`` items, packed, and the ends of the groups."""
    num_bits = codes.shape[1]
    twice = (num_bits - query_codes @ codes.T).astype(jnp.uint32)  # distances, doubled
    relevant = similarity(query_labels, labels).astype(jnp.uint32)
    distances, hits = _sort(twice, relevant, 2 * num_bits)
    radii = jnp.arange(2 * num_bits + 1, dtype=jnp.uint32)
    ends_of: Callable = functools.partial(jnp.searchsorted, v=radii, side="right")
    return jnp.packbits(hits[:, :count].astype(bool), axis=1), jax.vmap(ends_of)(
        distances
    )


def _sort(
    distances: UInt[Array, "b M"], relevant: UInt[Array, "b M"], max_distance: int
) -> tuple[UInt[Array, "b M"], UInt[Array, "b M"]]:
    """Distances and relevance by distance, then position.

    If they fit, distance, position and relevance are one key, which an accelerator
    sorts fastest, and which no two items share; else a stable sort moves two arrays.
    """
    num_items = distances.shape[1]
    position_bits = (num_items - 1).bit_length()
    if max_distance.bit_length() + position_bits + 1 > KEY_BITS:
        operands = distances, relevant
        return lax.sort(operands, dimension=1, is_stable=True, num_keys=1)
    positions = jnp.arange(num_items, dtype=jnp.uint32)[None]
    keys = distances << (position_bits + 1) | positions << 1 | relevant
    keys = lax.sort(keys, dimension=1, is_stable=False)
    return keys >> (position_bits + 1), keys & 1
