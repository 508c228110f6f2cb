"""An index: images by their codes, to search with the network that made these."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgat_jax.errors import InputError
from cgat_jax.evaluation.network import Network
from cgat_jax.search.catalogue import Catalogue
from cgat_jax.search.engines import Engine, EngineSettings
from cgat_jax.search.folder import CATALOGUE_FILE, create_folder, open_folder
from cgat_jax.search.items import (
    SearchResult,
    check_same_network,
    items_of,
    packed_codes,
    result_of,
)
from cgat_jax.search.rows import Item
from cgat_jax.search.store import Store, closed_on_failure


class Index:
    """Images by their binary codes.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from cgat_jax import Index, Network
    >>> from cgat_jax.models.network_file import make_network, new_card
    >>> card = new_card(backbone="small", bits=16, image_size=36, crop_size=32)
    >>> first = jnp.zeros((1, 32, 32, 3))
    >>> net = Network(*jax.jit(make_network(card).init)(jax.random.key(0), first), card)
    >>> codes = np.where(np.tri(8, 16), 1, -1)  # or images
    >>> index = Index.build(net, codes, labels=[["cat"]] * 4 + [["dog"]] * 4)
    >>> index.search(codes[5:6], k=2)[:2]  # ids, distances
    ([[5, 4]], array([[0, 1]], dtype=int32))
    >>> index.search(codes[:1], k=1, label="dog").ids
    [[4]]

    It is in memory until ``save``; what is added to or removed from one that ``load``
    opened is on disk when the call returns. Threads may share it.

    Attributes:
        network: that encodes.
        catalogue: ids, labels and small pictures.
        path: its folder, if it has one.
    """

    def __init__(
        self,
        network: Network,
        catalogue: Catalogue,
        settings: EngineSettings | None = None,
        path: Path | None = None,
    ):
        """Reads the codes of a catalogue into an engine; see ``build`` and ``load``."""
        self.network, self.catalogue, self.path = network, catalogue, path
        self.settings = settings or EngineSettings()
        self._lock = threading.RLock()
        self._store = Store(catalogue, network.bits, self.settings)

    @classmethod
    def build(
        cls,
        network: Network,
        images: Sequence[Any] | np.ndarray,
        ids: Sequence[Any] | np.ndarray | None = None,
        labels: Sequence[Any] | np.ndarray | None = None,
        *,
        engine: EngineSettings | str = "auto",
    ) -> "Index":
        """An index of images, in memory.

        Args:
            network: encodes them, and all queries.
            images: as ``Network.encode`` takes them.
            ids: their names or numbers, each once; 0, 1, ... by default.
            labels: a list of names of classes for each; none by default.
            engine: a key of ``cgat_jax.search.ENGINES``, or settings.

        Raises:
            InputError: as ``add``; or the engine is missing.
        """
        engine = EngineSettings(engine) if isinstance(engine, str) else engine
        with closed_on_failure(cls(network, Catalogue(), engine)) as index:
            index.add(images, range(len(images)) if ids is None else ids, labels)
        return index

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, engine: EngineSettings | None = None
    ) -> "Index":
        """The index of a folder.

        Args:
            path: that ``save`` or ``experiments.index`` wrote.
            engine: another one than it was saved with.

        Raises:
            FileNotFoundError: there is nothing at the path.
            InputError: it holds no index, or one of another version.
            DamagedFileError: a file is missing, or is not as it was written.
        """
        path = Path(path)
        network, settings = open_folder(path)
        settings = (engine or settings)._replace(folder=path)
        catalogue = Catalogue(path / CATALOGUE_FILE, is_made=True)
        return cls(network, catalogue, settings, path)

    @property
    def engine(self) -> Engine:
        """What searches; another one after one that failed.

        >>> index.engine.search(np.array([[255, 255]], np.uint8), k=1).distances
        array([[8]], dtype=int32)
        """
        return self._store.engine

    def __len__(self) -> int:
        return len(self.catalogue)

    def __repr__(self) -> str:
        return f"Index({len(self):,} images, {self.network!r}, {self.engine})"

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the index into a new or empty folder, with its network.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = index.save(f"{folder}/index")
        ...     len(Index.load(path))
        8

        Raises:
            ForeignFilesError, InputError: something else, or another index, is there.
            OSError: it cannot be written.
        """
        return create_folder(Path(path), self.network, self.settings, self.catalogue)

    def close(self) -> None:
        """Closes its files.

        >>> Index.build(net, codes).close()
        """
        self._store.close()

    def add(
        self,
        images: Sequence[Any] | np.ndarray,
        ids: Sequence[Any] | np.ndarray,
        labels: Sequence[Any] | np.ndarray | None = None,
        *,
        origins: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Encodes images and adds them, all or none; their numbers.

        >>> index.add(np.zeros((2, 40, 60, 3)), ids=["a.jpg", "b.jpg"]).tolist()
        [9, 10]

        Args:
            images: as ``Network.encode`` takes them, or codes [n, K] of this network.
            ids: their names or numbers, each once.
            labels: as in ``build``.
            origins: what an image is of, to tell whether that has changed since.

        Raises:
            InputError: an image cannot be used, an id is taken or is neither text nor
                a whole number of 63 bits, labels are no lists of names, or the lengths
                differ.
            OSError: they cannot be written, or (EngineError) the engine failed.
        """
        with self._lock:  # one program is compiled once
            items = items_of(self.network, images, ids, labels=labels, origins=origins)
            return self.add_items(items)

    def add_items(self, items: Sequence[Item]) -> np.ndarray:
        """As ``add``, of items with codes of this network.

        >>> index.add_items([]).tolist()
        []
        """
        with self._lock:
            return self._store.add(items)

    def remove(self, ids: Sequence[Any] | np.ndarray) -> None:
        """Removes images, all or none.

        >>> index.remove([5, "a.jpg"])

        Raises:
            InputError: names the first id that is not there.
            OSError: as ``add``.
        """
        with self._lock:
            self.remove_numbers(self.catalogue.numbers_of(ids))

    def remove_numbers(self, numbers: Sequence[int]) -> None:
        """Removes items by number.

        >>> index.remove_numbers([10])
        """
        with self._lock:
            self._store.remove(numbers)

    def search(
        self,
        queries: Sequence[Any] | np.ndarray,
        k: int = 10,
        *,
        label: str = "",
        network: Network | str | None = None,
    ) -> SearchResult:
        """The k nearest images of each query.

        >>> index.search(np.ones((1, 40, 60, 3)), k=3).distances.shape
        (1, 3)

        Args:
            queries: images as ``Network.encode`` takes them, or codes [q, K].
            k: how many.
            label: name of a class that answers must have; all by default.
            network: that encoded the codes, or its digest, to be checked.

        Raises:
            InputError: the codes are of another network, length or type, an image
                cannot be used, or there are fewer than k images to find.
            EngineError: the engine failed.
        """
        if network is not None:
            check_same_network(self.network, network)
        return self.search_packed(packed_codes(self.network, queries), k, label=label)

    def search_packed(
        self, packed: np.ndarray, k: int, *, label: str = ""
    ) -> SearchResult:
        """As ``search``, of packed bits, uint8 [q, bytes].

        >>> index.search_packed(np.array([[0, 255]], np.uint8), k=2).distances.shape
        (1, 2)
        """
        with self._lock:
            chosen = self.catalogue.label_number(label) if label else None
            size = self.catalogue.count(label)
            if not 1 <= k <= size:
                raise InputError(f"k: expected 1 to {size:,}, the images, got {k:,}")
            distances, numbers = self._store.search(packed, k, chosen)
            return result_of(self.catalogue, distances, numbers)
