"""Items from images and ids, and what a search gives."""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int64

from cgat_jax.errors import InputError
from cgat_jax.evaluation.network import Network
from cgat_jax.search.catalogue import Catalogue
from cgat_jax.search.checked import checked_ids, checked_labels
from cgat_jax.search.engines import Packed, pack_bits
from cgat_jax.search.pictures import small_picture
from cgat_jax.search.rows import Id, Item

BATCHES = (1, 8, 64)
"""Sizes of batches that are encoded: a compiled program each."""


class SearchResult(NamedTuple):
    """The k nearest items of each query, nearest first.

    Items at the same distance are in the order in which they were added, which is that
    of ``cgat_jax.retrieval``.

    Attributes:
        ids: k ids a query, as they were given.
        distances: Hamming distances [q, k].
        labels: names of the classes of each item.
        numbers: the items' numbers in the index [q, k], which a service answers with.
    """

    ids: list[list[Id]]
    distances: Int[np.ndarray, "q k"]
    labels: list[list[tuple[str, ...]]]
    numbers: Int64[np.ndarray, "q k"]


def packed_codes(network: Network, images: Sequence[Any] | np.ndarray) -> Packed:
    """The codes of images, or codes as they are, as packed bits.

    Raises:
        InputError: there is none, or one cannot be used.
    """
    if not len(images):
        raise InputError("images: expected one at least")
    if getattr(images, "ndim", 0) == 2:
        return pack_bits(np.asarray(images), network.bits)
    size = next((s for s in BATCHES if len(images) <= s), BATCHES[-1])
    return pack_bits(network.encode(images, batch_size=size), network.bits)


def items_of(
    network: Network,
    images: Sequence[Any] | np.ndarray,
    ids: Sequence[Any] | np.ndarray,
    *,
    labels: Sequence[Any] | np.ndarray | None,
    origins: Sequence[str] | None,
) -> list[Item]:
    """Items of images, each with a small picture, or of codes, which have none.

    Raises:
        InputError: as ``Index.add``.
    """
    count = len(images)
    ids, names = _ids_and_labels(ids, labels, count)
    origins = [""] * count if origins is None else list(origins)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # beside the network
        pictures = itertools.repeat(b"", count)
        if getattr(images, "ndim", 0) != 2:
            pictures = pool.map(
                lambda i: small_picture(np.asarray(images[i])), range(count)
            )
        codes = packed_codes(network, images) if count else ()
        rows = zip(ids, names, codes, pictures, origins, strict=True)
        return [
            Item(id_, own, code.tobytes(), picture, origin)
            for id_, own, code, picture, origin in rows
        ]


def _ids_and_labels(
    ids: Sequence[Any] | np.ndarray,
    labels: Sequence[Any] | np.ndarray | None,
    count: int,
) -> tuple[list[Id], list[tuple[str, ...]]]:
    ids = checked_ids(ids)
    given = [()] * count if labels is None else labels
    names = [checked_labels(own, f"image {i}") for i, own in enumerate(given)]
    if not len(ids) == len(names) == count:
        raise InputError(
            f"{count} images, {len(ids)} ids and {len(names)} lists of labels: "
            "expected as many of each"
        )
    return ids, names


def result_of(
    catalogue: Catalogue, distances: np.ndarray, numbers: np.ndarray
) -> SearchResult:
    """What an engine found, with the ids and labels of the items."""
    ids, labels = catalogue.names(numbers)
    return SearchResult(ids, distances, labels, numbers)


def check_same_network(own: Network, given: Network | str) -> None:
    """Finds that codes are of an index's own network.

    Raises:
        InputError: they are of another.
    """
    digest = given if isinstance(given, str) else given.sha256
    if digest != own.sha256:
        raise InputError(
            f"codes of network {digest[:12]}, but the index is of network "
            f"{own.sha256[:12]}: encode with the index's own network"
        )
