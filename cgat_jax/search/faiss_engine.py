"""FAISS, embedded: exact by default, approximate for many millions of codes.

``IndexBinaryFlat`` compares with every code and keeps equal distances in the order of
adding. Its graph (HNSW) and its lists (IVF) find most of the nearest in less time; how
many is measured on the codes themselves when they are made, and again when these are
twice as many: lists are then made anew, and a graph has grown as it was made. They
cannot select by label, and HNSW cannot remove: there the exact index beneath answers.
"""

import hashlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from cgat_jax.errors import InputError, install
from cgat_jax.search.engines import EngineSettings, Labels, Neighbors, Numbers, Packed
from cgat_jax.search.faiss_kept import keep, kept
from cgat_jax.search.label_sets import LabelSets

EXACT_TO, GRAPH_TO = 4_000_000, 40_000_000
"""Codes up to which ``auto`` is exact, and up to which it is a graph: one query of 4
million codes of 64 bits takes about 10 ms of a core, and a graph 0.3 KB a code."""
LINKS, BREADTH, PROBED = 32, 256, 64  # HNSW's M and efSearch; lists that IVF looks at
_SAMPLE, _RECALL_AT = 200, 10
_TRAIN_PER_LIST = 50
_KINDS = ("flat", "hnsw", "ivf")  # for more and more codes


class _Made(NamedTuple):
    """Which structure for speed there is, and of how many codes it was made."""

    kind: str
    size: int


def load_faiss() -> ModuleType:
    """The library.

    Raises:
        InputError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"FAISS is not installed: {install('search')}; or choose --engine=numpy"
        ) from error
    return faiss


def make_engine(kind: str, bits: int, settings: EngineSettings) -> "FaissEngine":
    """An empty engine; ``kind`` is auto, flat, hnsw or ivf."""
    return FaissEngine(load_faiss(), bits, kind, settings.folder)


class FaissEngine:
    """Exact search, and a structure for speed beside it where the kind asks for one."""

    def __init__(self, faiss: ModuleType, bits: int, kind: str, folder: Path | None):
        """Empty; ``bits`` is the code length, which is filled up to whole bytes."""
        self._folder = folder
        self._faiss, self._bits, self._kind = faiss, -(-bits // 8) * 8, kind
        self._flat = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(self._bits))
        self._is_settled = False
        self._forget_fast()
        self._labels = LabelSets()

    def __str__(self) -> str:
        if self._fast is None:
            return "faiss-flat, exact"
        recall = f"recall at {_RECALL_AT} measured {self.recall:.3f}"
        return f"faiss-{self._made.kind}, {recall}"

    def add(self, numbers: Numbers, codes: Packed, labels: Labels) -> None:
        """See ``Engine``."""
        self._is_kept = True  # what fails in the middle is not to be kept
        self._flat.add_with_ids(codes, numbers)
        self._labels.add(numbers, labels)
        if self._fast is not None:
            self._fast.add_with_ids(codes, numbers)
            self._is_kept = False
        if self._is_settled:
            self._grow()

    def remove(self, numbers: Numbers) -> None:
        """See ``Engine``."""
        self._is_kept = True  # as in ``add``
        removed = self._flat.remove_ids(numbers)
        self._labels.remove(numbers)
        if self._fast is not None:
            self._removed, self._is_kept = self._removed + removed, False
            if self._removed * 10 > self._flat.ntotal:
                self._rebuild()

    def search(self, codes: Packed, k: int, label: int | None = None) -> Neighbors:
        """See ``Engine``."""
        if label is None and self._fast is not None:
            return self._search_fast(codes, k)
        options = {}
        if label is not None:
            selector = self._faiss.IDSelectorBatch(self._labels.of(label))
            options = {"params": self._faiss.SearchParameters(sel=selector)}
        distances, numbers = self._flat.search(codes, k, **options)
        return Neighbors(distances, numbers)

    def numbers(self) -> set[int]:
        """See ``Engine``."""
        return set()

    def settle(self) -> None:
        """See ``Engine``."""
        self._is_settled = True
        self._grow()
        if not self._is_kept:
            self._keep()

    def close(self) -> None:
        """See ``Engine``."""
        if not self._is_kept and self._folder is not None:
            self._keep()

    def _search_fast(self, codes: Packed, k: int) -> Neighbors:
        """More than k, without those removed; exactly where it finds too few."""
        wanted = min(k + self._removed, self._fast.ntotal)
        distances, numbers = self._fast.search(codes, wanted)
        known = (numbers >= 0) & self._alive(numbers)
        found = [
            _nearest(d[ok], n[ok], k)
            for d, n, ok in zip(distances, numbers, known, strict=True)
        ]
        if min(len(d) for d, _ in found) < k:
            return Neighbors(*self._flat.search(codes, k))
        distances, numbers = zip(*found, strict=True)
        return Neighbors(np.array(distances, np.int32), np.array(numbers))

    def _alive(self, numbers: np.ndarray) -> np.ndarray:
        if not self._removed:
            return np.ones(numbers.shape, bool)
        return np.isin(numbers, self._faiss.vector_to_array(self._flat.id_map))

    def _structure(self) -> str:
        if self._kind != "auto":
            return self._kind
        size = self._flat.ntotal
        return "flat" if size <= EXACT_TO else "hnsw" if size <= GRAPH_TO else "ivf"

    def _grow(self) -> None:
        """Has the structure for speed be one for as many codes as there are now."""
        kind, size = self._structure(), self._flat.ntotal
        # Not for fewer: their number may cross a bound to and fro.
        if _KINDS.index(kind) > _KINDS.index(self._made.kind):
            self._rebuild()
        elif self._fast is not None and size >= 2 * self._made.size:
            if self._made.kind == "ivf":
                self._rebuild()
            else:
                self._made = _Made(self._made.kind, size)
                self._keep()

    def _rebuild(self) -> None:
        """Makes the structure for speed of what there is, and measures its recall."""
        kind, size = self._structure(), self._flat.ntotal
        self._forget_fast()
        if kind == "flat" or size == 0 or self._take_kept(kind):
            return
        codes = self._codes()
        inner = self._graph() if kind == "hnsw" else self._lists(codes)
        self._fast = self._faiss.IndexBinaryIDMap2(inner)
        self._inner = inner  # the map does not keep it alive
        self._fast.add_with_ids(codes, self._faiss.vector_to_array(self._flat.id_map))
        self._made = _Made(kind, size)
        self._keep()

    def _forget_fast(self) -> None:
        self._fast, self._made, self._removed = None, _Made("flat", 0), 0
        self.recall, self._is_kept = 1.0, True

    def _graph(self):
        graph = self._faiss.IndexBinaryHNSW(self._bits, LINKS)
        graph.hnsw.efSearch = BREADTH
        return graph

    def _lists(self, codes: Packed):
        size = len(codes)
        count = max(1, min(int(4 * size**0.5), size // _TRAIN_PER_LIST))
        self._quantizer = self._faiss.IndexBinaryFlat(self._bits)
        lists = self._faiss.IndexBinaryIVF(self._quantizer, self._bits, count)
        lists.nprobe = PROBED
        chosen = np.random.default_rng(0).choice(
            size, min(size, _TRAIN_PER_LIST * count), replace=False
        )
        lists.train(codes[np.sort(chosen)])
        return lists

    def _take_kept(self, kind: str) -> bool:
        """Takes the structure that was kept of the same codes, if there is one."""
        found = self._folder and kept(self._folder, self._digest(kind))
        if not found:
            return False
        content, note = found
        self._fast = self._faiss.deserialize_index_binary(content)
        self._made = _Made(kind, note.get("size", self._flat.ntotal))
        self.recall, self._removed = note["recall"], note.get("removed", 0)
        return True

    def _keep(self) -> None:
        """Measures the recall of the structure, and keeps it for the next process."""
        self.recall, self._is_kept = self._measured_recall(), True
        if self._folder is None:
            return
        content = self._faiss.serialize_index_binary(self._fast).tobytes()
        note = {"of": self._digest(self._made.kind), "recall": self.recall}
        note |= {"size": self._made.size, "removed": self._removed}
        keep(self._folder, content, note)

    def _codes(self) -> Packed:
        flat = self._faiss.downcast_IndexBinary(self._flat.index)
        return self._faiss.vector_to_array(flat.xb).reshape(self._flat.ntotal, -1)

    def _digest(self, kind: str) -> str:
        of = hashlib.sha256(f"{kind} {self._bits} ".encode())
        of.update(self._faiss.vector_to_array(self._flat.id_map).tobytes())
        of.update(self._codes().tobytes())
        return of.hexdigest()

    def _measured_recall(self) -> float:
        """Mean share of the nearest distances that are found, of codes a bit changed.

        An item counts as found if it is as near as the exact k-th is.
        """
        codes, rng = self._codes(), np.random.default_rng(1)
        k = min(_RECALL_AT, len(codes))
        queries = codes[rng.choice(len(codes), min(_SAMPLE, len(codes)), replace=False)]
        flipped = rng.integers(self._bits, size=len(queries))
        masks = (1 << (flipped % 8)).astype(np.uint8)
        queries[np.arange(len(queries)), flipped // 8] ^= masks
        furthest = self._flat.search(queries, k)[0][:, -1:]
        found = self._search_fast(queries, k).distances
        return float((found <= furthest).mean())


def _nearest(
    distances: np.ndarray, numbers: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((numbers, distances))[:k]
    return distances[order], numbers[order]
