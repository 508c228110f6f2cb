"""FAISS, embedded: exact by default, approximate for many millions of codes.

``IndexBinaryFlat`` compares with every code and keeps equal distances in the order of
adding. Its graph (HNSW) and its lists (IVF) find most of the nearest in less time; how
many is measured on the codes themselves when they are made. They cannot select by
label, and HNSW cannot remove: there the exact index beneath answers.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np

from cgat_jax.errors import DamagedFileError, InputError, install
from cgat_jax.files.io import read_sealed, write_bytes, write_sealed
from cgat_jax.search.engines import EngineSettings, Labels, Neighbors, Numbers, Packed

EXACT_TO, GRAPH_TO = 4_000_000, 40_000_000
"""Codes up to which ``auto`` is exact, and up to which it is a graph: one query of 4
million codes of 64 bits takes about 10 ms of a core, and a graph 0.3 KB a code."""
LINKS, BREADTH, PROBED = 32, 256, 64  # HNSW's M and efSearch; lists that IVF looks at
_SAMPLE, _RECALL_AT = 200, 10
_TRAIN_PER_LIST = 50
_FILE, _NOTE = "engine.faiss", "engine.json"


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
        self._fast, self._removed, self.recall = None, 0, 1.0
        self._labels: dict[int, set[int]] = {}
        self._among: dict[int, np.ndarray] = {}

    def __str__(self) -> str:
        if self._fast is None:
            return "faiss-flat, exact"
        kind, at = self._structure(), f"recall at {_RECALL_AT}"
        return f"faiss-{kind}, {at} measured {self.recall:.3f}"

    def add(self, numbers: Numbers, codes: Packed, labels: Labels) -> None:
        """See ``Engine``."""
        self._flat.add_with_ids(codes, numbers)
        for number, own in zip(numbers.tolist(), labels, strict=True):
            for label in own:
                self._labels.setdefault(label, set()).add(number)
        self._forget(label for own in labels for label in own)
        if self._fast is None or self._structure() == "flat":
            self._rebuild()
        else:
            self._fast.add_with_ids(codes, numbers)

    def remove(self, numbers: Numbers) -> None:
        """See ``Engine``."""
        self._flat.remove_ids(numbers)
        gone = set(numbers.tolist())
        for label, items in self._labels.items():
            if items & gone:
                items -= gone
                self._forget([label])
        if self._fast is not None:
            self._removed += len(gone)
            if self._removed * 10 > self._flat.ntotal:
                self._rebuild()

    def search(self, codes: Packed, k: int, label: int | None = None) -> Neighbors:
        """See ``Engine``."""
        if label is None and self._fast is not None:
            return self._search_fast(codes, k)
        options = {}
        if label is not None:
            selector = self._faiss.IDSelectorBatch(self._with_label(label))
            options = {"params": self._faiss.SearchParameters(sel=selector)}
        distances, numbers = self._flat.search(codes, k, **options)
        return Neighbors(distances, numbers)

    def numbers(self) -> set[int]:
        """See ``Engine``."""
        return set()

    def close(self) -> None:
        """See ``Engine``."""

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

    def _with_label(self, label: int) -> np.ndarray:
        if label not in self._among:
            items = self._labels.get(label, ())
            self._among[label] = np.sort(np.fromiter(items, np.int64, len(items)))
        return self._among[label]

    def _forget(self, labels: Iterable[int]) -> None:
        for label in set(labels):
            self._among.pop(label, None)

    def _structure(self) -> str:
        if self._kind != "auto":
            return self._kind
        size = self._flat.ntotal
        return "flat" if size <= EXACT_TO else "hnsw" if size <= GRAPH_TO else "ivf"

    def _rebuild(self) -> None:
        """Makes the structure for speed of what there is, and measures its recall."""
        kind, size = self._structure(), self._flat.ntotal
        self._fast, self._removed, self.recall = None, 0, 1.0
        if kind == "flat" or size == 0:
            return
        flat = self._faiss.downcast_IndexBinary(self._flat.index)
        codes = self._faiss.vector_to_array(flat.xb).reshape(size, -1)
        numbers = self._faiss.vector_to_array(self._flat.id_map)
        of = hashlib.sha256(f"{kind} {self._bits} ".encode())
        of.update(numbers.tobytes())
        of.update(codes.tobytes())
        if self._read_kept(of.hexdigest()):
            return
        inner = self._graph() if kind == "hnsw" else self._lists(codes)
        self._fast = self._faiss.IndexBinaryIDMap2(inner)
        self._inner = inner  # the map does not keep it alive
        self._fast.add_with_ids(codes, numbers)
        self.recall = self._measured_recall(codes)
        self._keep(of.hexdigest())

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

    def _read_kept(self, of: str) -> bool:
        """Takes the structure that was kept of the same codes, if there is one."""
        if self._folder is None:
            return False
        try:
            note = read_sealed(self._folder / _NOTE)
            content = (self._folder / _FILE).read_bytes()
        except (OSError, DamagedFileError):
            return False
        if note.get("of") != of or note["file"] != hashlib.sha256(content).hexdigest():
            return False
        whole = np.frombuffer(content, np.uint8)
        self._fast = self._faiss.deserialize_index_binary(whole)
        self.recall = note["recall"]
        return True

    def _keep(self, of: str) -> None:
        """Keeps the structure, which takes minutes to make, for the next process."""
        if self._folder is None:
            return
        content = self._faiss.serialize_index_binary(self._fast).tobytes()
        write_bytes(self._folder / _FILE, content)
        digest = hashlib.sha256(content).hexdigest()
        note = {"of": of, "file": digest, "recall": self.recall}
        write_sealed(self._folder / _NOTE, note)

    def _measured_recall(self, codes: Packed) -> float:
        """Mean share of the nearest distances that are found, of codes a bit changed.

        An item counts as found if it is as near as the exact k-th is.
        """
        rng, k = np.random.default_rng(1), min(_RECALL_AT, len(codes))
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
