"""Engines find the nearest codes: libraries of the field behind one narrow interface.

An engine knows items by number, an int64 that grows, and labels by number as well;
``Catalogue`` knows whose numbers they are. Codes are packed bits, uint8 [n, bytes], as
``pack_bits`` makes them.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Int64, UInt8

from cgat_jax.errors import InputError, install, lookup

Packed = UInt8[np.ndarray, "n bytes"]
Numbers = Int64[np.ndarray, " n"]
Labels = Sequence[Iterable[int]]


class Neighbors(NamedTuple):
    """The k nearest items of each query, nearest first, equal distances by number."""

    distances: Int[np.ndarray, "q k"]
    numbers: Int64[np.ndarray, "q k"]


class EngineSettings(NamedTuple):
    """Which engine, and where its server is.

    Attributes:
        name: a key of ``ENGINES``; ``auto`` is FAISS, or NumPy where that is missing.
        uri: of Milvus, ``http://HOST:PORT`` or a local file ending in ``.db``.
        collection: its name there, which one index alone may use; empty: a new one,
            which is removed when the index is closed.
        folder: where an engine that is slow to make may keep what it made; or None.
    """

    name: str = "auto"
    uri: str = ""
    collection: str = ""
    folder: Path | None = None


@runtime_checkable
class Engine(Protocol):
    """Finds the nearest of the codes that it was given."""

    def add(self, numbers: Numbers, codes: Packed, labels: Labels) -> None:
        """Adds items; their numbers are above all that it has."""

    def remove(self, numbers: Numbers) -> None:
        """Removes items that it has."""

    def search(self, codes: Packed, k: int, label: int | None = None) -> Neighbors:
        """The k nearest items, of those with the label if one is given.

        The caller makes sure that there are k.
        """

    def numbers(self) -> set[int]:
        """The items that it holds when it is made: none, but of a server."""

    def settle(self) -> None:
        """Makes what is slow to make: all items are there, and later ones are few."""

    def close(self) -> None:
        """Lets go of what it holds outside of this process's memory."""

    def __str__(self) -> str:
        """Its name, and how exact it is."""


def pack_bits(codes: np.ndarray, bits: int, name: str = "codes") -> Packed:
    """Codes in {-1, +1} as packed bits; a bit is set where an entry is +1.

    >>> import numpy as np
    >>> from cgat_jax.search.engines import pack_bits
    >>> pack_bits(np.array([[1, -1, -1, 1]], np.int8), 4).tolist()
    [[144]]

    An entry of 0, which a logit of exactly 0 makes, counts as -1: engines have bits.

    Args:
        codes: [n, bits] with entries -1, 0 or +1.
        bits: code length K; missing bits of the last byte are 0.
        name: what an error calls them.

    Raises:
        InputError: another shape, type or entry.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != bits:
        raise InputError(
            f"{name}: expected [n, {bits}], codes of this index's network; got shape "
            f"{list(codes.shape)}"
        )
    if codes.dtype.kind not in "if" or not np.isin(codes, (-1, 0, 1)).all():
        raise InputError(f"{name}: expected entries -1 and +1, got {codes.dtype}")
    return np.packbits(codes > 0, axis=1)


class NumpyEngine:
    """Compares with every code, in NumPy: the oracle, and for small indexes."""

    def __init__(self, bits: int, settings: EngineSettings):
        """Empty."""
        self._numbers = np.empty(0, np.int64)
        self._codes = np.empty((0, -(-bits // 8)), np.uint8)
        self._labels: list[frozenset[int]] = []

    def __str__(self) -> str:
        return "numpy, exact"

    def add(self, numbers: Numbers, codes: Packed, labels: Labels) -> None:
        """See ``Engine``."""
        self._numbers = np.concatenate([self._numbers, numbers])
        self._codes = np.concatenate([self._codes, codes])
        self._labels += map(frozenset, labels)

    def remove(self, numbers: Numbers) -> None:
        """See ``Engine``."""
        keep = ~np.isin(self._numbers, numbers)
        self._numbers, self._codes = self._numbers[keep], self._codes[keep]
        self._labels = [x for x, kept in zip(self._labels, keep, strict=True) if kept]

    def search(self, codes: Packed, k: int, label: int | None = None) -> Neighbors:
        """See ``Engine``."""
        among = np.arange(len(self._numbers))
        if label is not None:
            among = np.flatnonzero([label in labels for labels in self._labels])
        found = []
        for code in codes:
            differing = np.bitwise_count(self._codes[among] ^ code)
            distances = differing.sum(axis=1, dtype=np.int64)
            nearest = np.argsort(distances, kind="stable")[:k]
            found.append((distances[nearest], self._numbers[among[nearest]]))
        distances, numbers = zip(*found, strict=True)
        return Neighbors(np.array(distances, np.int32), np.array(numbers))

    def numbers(self) -> set[int]:
        """See ``Engine``."""
        return set()

    def settle(self) -> None:
        """See ``Engine``."""

    def close(self) -> None:
        """See ``Engine``."""


def _faiss(kind: str) -> Callable[[int, EngineSettings], Engine]:
    def make(bits: int, settings: EngineSettings) -> Engine:
        from cgat_jax.search import faiss_engine

        return faiss_engine.make_engine(kind, bits, settings)

    return make


def _auto(bits: int, settings: EngineSettings) -> Engine:
    return (NumpyEngine if lacks_faiss() else _faiss("auto"))(bits, settings)


def lacks_faiss() -> str:
    """A line where NumPy searches in the place of FAISS, which is missing; or nothing.

    >>> from cgat_jax.search.engines import lacks_faiss
    >>> lacks_faiss()
    ''
    """
    from cgat_jax.search.faiss_engine import load_faiss

    try:
        load_faiss()
    except InputError:
        return (
            "FAISS is not installed, so NumPy searches: as exact, slower in large "
            f"indexes; for FAISS: {install('search')}"
        )
    return ""


def _milvus(bits: int, settings: EngineSettings) -> Engine:
    from cgat_jax.search.milvus_engine import MilvusEngine

    return MilvusEngine(bits, settings)


ENGINES: dict[str, Callable[[int, EngineSettings], Engine]] = {
    "auto": _auto,
    "faiss": _faiss("auto"),
    "faiss-flat": _faiss("flat"),
    "faiss-hnsw": _faiss("hnsw"),
    "faiss-ivf": _faiss("ivf"),
    "milvus": _milvus,
    "numpy": NumpyEngine,
}
"""``faiss`` chooses among the three by the number of codes; ``auto`` is the default."""


def new_collection() -> str:
    """A name that no other index has."""
    return f"cgat_jax_{uuid.uuid4().hex[:16]}"


def make_engine(bits: int, settings: EngineSettings) -> Engine:
    """An empty engine for codes of that many bits; Milvus may hold items already.

    Raises:
        InputError: it is unknown, its library is missing, or its server is not there.
    """
    make = lookup("engine", settings.name, ENGINES)
    if (settings.name == "milvus") != bool(settings.uri):
        raise InputError(
            "engine: Milvus, and it alone, needs a uri: http://HOST:19530 or a local "
            "file that ends in .db"
        )
    return make(bits, settings)
