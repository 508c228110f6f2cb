"""Codes and label sets as packed bits, and exact distances between them.

Bits lie word by word, ``[num_words, num_items]``, so that one query meets a whole
database in a few contiguous passes: XOR and popcount.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt

CHUNK_ROWS = 16_384
BLOCK_ITEMS = 262_144  # compared at once, so that memory does not grow with a database

# Any array: shapes and values are checked by hand, for errors that name the argument.
Table = Shaped[np.ndarray, "..."]
Words = UInt[np.ndarray, "num_words num_items"]


class PackedCodes(NamedTuple):
    """Codes in {-1, 0, +1}, a bit of ``positive`` and of ``nonzero`` an entry."""

    positive: Words
    nonzero: Words
    num_bits: int
    has_zeros: bool

    @property
    def num_items(self) -> int:
        """How many codes there are."""
        return self.positive.shape[1]


def pack_codes(codes: Table, name: str = "codes") -> PackedCodes:
    """Packs codes, and checks them.

    >>> import numpy as np
    >>> from cgat_jax.retrieval import pack_codes
    >>> packed = pack_codes(np.where(np.arange(300).reshape(3, 100) % 7 < 3, 1, -1))
    >>> packed.num_items, packed.num_bits, packed.positive.shape  # two words a code
    (3, 100, (2, 3))

    Args:
        codes: [n, K] with entries -1, 0 or +1, of any real type that has a sign.
        name: what an error calls them.

    Raises:
        ValueError: not a non-empty table of such numbers, or another entry (NaN as
            well).
    """
    codes = as_table(codes, name)
    if codes.dtype.kind not in "if":
        raise no_type_of_codes(name, codes.dtype)
    _check_entries(codes, name, (-1, 0, 1))
    positive = _pack_where(codes, lambda rows: rows == 1)
    nonzero = _pack_where(codes, lambda rows: rows != 0)
    num_nonzero = int(np.bitwise_count(nonzero).sum(dtype=np.int64))
    return PackedCodes(positive, nonzero, codes.shape[1], num_nonzero < codes.size)


def pack_labels(labels: Table, name: str = "labels") -> Words:
    """Packs multi-hot labels [n, C], and checks that every entry is 0 or 1.

    Raises:
        ValueError: not a non-empty table of numbers or bools, or another entry.
    """
    labels = as_table(labels, name)
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected 0 or 1; got {labels.dtype}")
    _check_entries(labels, name, (0, 1))
    return _pack_where(labels, lambda rows: rows == 1)


def no_type_of_codes(name: str, dtype: np.dtype) -> ValueError:
    """What is raised for codes without a sign: bits would read as codes in {0, +1}."""
    signed = f"{name}: expected numbers -1, 0 or +1 of a type with a sign; got {dtype}"
    return ValueError(f"{signed} (bits become codes by 2 * bits.astype('int8') - 1)")


def as_table(values: Table, name: str) -> Table:
    """The values as a NumPy array with two axes, neither of them empty.

    Raises:
        ValueError: they are something else.
    """
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{name}: expected [rows, columns], not empty; got shape {values.shape}"
        )
    return values


def key_scale(queries: PackedCodes, database: PackedCodes) -> int:
    """What ``distance_keys`` are multiplied with: 2 if any code holds a 0, else 1."""
    return 2 if queries.has_zeros or database.has_zeros else 1


def distance_keys(
    queries: PackedCodes, query: int, database: PackedCodes
) -> UInt[np.ndarray, " num_items"]:
    """Distances d = (K - q.r) / 2 of one query to all, times ``key_scale``: integers.

    A 0 agrees with nothing and differs by one half from everything, also from a 0, so
    with zeros the keys are 2 d = K - both + 2 differing, counted where neither is 0.

    Args:
        queries: the codes of which one is compared.
        query: its row.
        database: the codes that it is compared with, of the same length.
    """
    scale = key_scale(queries, database)
    largest = scale * database.num_bits
    keys = np.empty(database.num_items, np.min_scalar_type(largest))
    measure = _differing_bits if scale == 1 else _twice_halves
    for start in range(0, database.num_items, BLOCK_ITEMS):
        some = slice(start, start + BLOCK_ITEMS)
        measure(queries, query, database, some, keys[some])
    return keys


def _differing_bits(queries, query, database, some, keys):
    for word, theirs in enumerate(database.positive[:, some]):
        differing = np.bitwise_count(theirs ^ queries.positive[word, query])
        keys[:] = differing if word == 0 else keys + differing


def _twice_halves(queries, query, database, some, keys):
    keys.fill(database.num_bits)
    for word, theirs in enumerate(database.nonzero[:, some]):
        both = theirs & queries.nonzero[word, query]
        differing = database.positive[word, some] ^ queries.positive[word, query]
        keys += keys.dtype.type(2) * np.bitwise_count(differing & both)
        keys -= np.bitwise_count(both)


def hamming_distances(
    query_codes: Table, database_codes: Table
) -> Float32[np.ndarray, "Q M"]:
    """All distances d = (K - q.r) / 2, exact; half numbers where codes hold zeros.

    >>> import numpy as np
    >>> from cgat_jax.retrieval import hamming_distances
    >>> database = np.array([[1, 1, 1], [1, -1, -1], [0, 1, 1]])
    >>> hamming_distances(database[:1], database).tolist()
    [[0.0, 2.0, 0.5]]

    Args:
        query_codes: [Q, K] in {-1, 0, +1}.
        database_codes: [M, K] in {-1, 0, +1}.

    Raises:
        ValueError: empty, of different lengths, or with other entries.
    """
    queries = pack_codes(query_codes, "query_codes")
    database = pack_codes(database_codes, "database_codes")
    check_equal("database_codes", "columns", queries.num_bits, database.num_bits)
    distances = np.empty((queries.num_items, database.num_items), np.float32)
    for query, row in enumerate(distances):
        row[:] = distance_keys(queries, query, database)
    distances /= key_scale(queries, database)
    return distances


def share_a_label(
    words: Words, query_words: UInt[np.ndarray, " num_words"]
) -> Bool[np.ndarray, " num_items"]:
    """Where packed label sets meet the query's label set."""
    shared = words[0] & query_words[0]
    for theirs, mine in zip(words[1:], query_words[1:], strict=True):
        shared |= theirs & mine
    return shared != 0


def check_equal(name: str, what: str, expected: int, got: int) -> None:
    """Raises a ValueError that names the argument, unless the two numbers are equal."""
    if expected != got:
        raise ValueError(f"{name}: expected {expected} {what}; got {got}")


def _chunks(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(values), CHUNK_ROWS):
        yield start, values[start : start + CHUNK_ROWS]


def _check_entries(values: np.ndarray, name: str, allowed: tuple[int, ...]) -> None:
    for start, rows in _chunks(values):
        valid = np.zeros(rows.shape, bool)
        for entry in allowed:
            valid |= rows == entry
        if not valid.all():
            row, column = np.argwhere(~valid)[0]
            expected = ", ".join(str(entry) for entry in allowed)
            raise ValueError(
                f"{name}: expected entries {expected}; got {rows[row, column]} "
                f"at [{start + row}, {column}]"
            )


def _pack_where(
    values: np.ndarray, condition: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    num_items, num_bits = values.shape
    num_bytes = -(-num_bits // 8)
    word_bytes = next((size for size in (1, 2, 4) if num_bytes <= size), 8)
    num_words = -(-num_bytes // word_bytes)
    words = np.empty((num_words, num_items), f"u{word_bytes}")
    for start, rows in _chunks(values):
        packed = np.zeros((len(rows), num_words * word_bytes), np.uint8)
        packed[:, :num_bytes] = np.packbits(condition(rows), axis=1)
        words[:, start : start + len(rows)] = packed.view(words.dtype).T
    return words
