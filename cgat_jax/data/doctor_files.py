"""Whether every image of a data set is there, readable and whole."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.doctor import Finding
from cgat_jax.data.listing import Listing
from cgat_jax.data.places import some

_KINDS = {
    images.OversizedError: "oversized",
    images.UnreadableError: "unreadable",
    images.DamagedError: "truncated or damaged",
    DataError: "not readable",
}


class Checked(NamedTuple):
    """Of M images: what is wrong with each (empty: nothing), and content digests.

    A digest is of the bytes of the file; images without content have different ones.
    """

    problems: list[tuple[str, str]]
    contents: np.ndarray


def check_originals(listing: Listing, threads: int, progress: bool) -> Checked:
    """Opens and decodes every image of a source."""

    def look(position: int) -> tuple[tuple[str, str], int]:
        name = listing.image_ids[position]
        if listing.locate is not None and not listing.locate(position).is_file():
            return ("missing", name), position
        content = position
        try:
            data = listing.read(position)
            content = int(hashlib.sha256(data).hexdigest()[:16], 16)
            images.decode(data, name)
        except (DataError, OSError) as error:
            return (_kind(error), str(error)), content
        return ("", ""), content

    looked = list(_each(look, len(listing.image_ids), threads, progress))
    contents = np.array([content for _, content in looked], np.uint64)
    return Checked([problem for problem, _ in looked], contents)


def check_stored(
    read: Callable[[int], np.ndarray], count: int, threads: int, progress: bool
) -> list[tuple[str, str]]:
    """Decodes every image of a prepared folder; what is wrong with each."""

    def look(position: int) -> tuple[str, str]:
        try:
            read(position)
        except Exception as error:
            # The readers of damaged files raise whatever the bytes lead them to.
            return "truncated or damaged", " ".join(f"{position}: {error}".split())
        return "", ""

    return list(_each(look, count, threads, progress))


def findings(problems: list[tuple[str, str]]) -> Iterator[Finding]:
    """A defect for each kind of problem, with a count and the first images."""
    bad = [problem for problem in problems if problem[0]]
    for kind in ("missing", *_KINDS.values()):
        if lines := [text for found, text in bad if found == kind]:
            text = f"{len(lines):,} of {len(problems):,} images are {kind}"
            yield Finding(True, f"{text}: {some(lines)}")
    if not bad:
        text = f"all {len(problems):,} images are there, readable and whole"
        yield Finding(False, text)


def _kind(error: Exception) -> str:
    return next((n for kind, n in _KINDS.items() if isinstance(error, kind)), "missing")


def _each(look: Callable, count: int, threads: int, progress: bool) -> Iterator:
    with ThreadPoolExecutor(threads) as pool:
        yield from tqdm(
            pool.map(look, range(count)),
            total=count,
            desc="checking images",
            unit="img",
            disable=None if progress else True,
        )
