"""Whether every image of a data set is there, readable and whole."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from cgat_jax.data import images
from cgat_jax.data.checks.doctor import Finding
from cgat_jax.data.checks.sizes import smaller_than
from cgat_jax.data.dataset import DataError
from cgat_jax.data.sources.source_file import counted, some
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.progress import watched

_KINDS = {
    images.OversizedError: "oversized",
    images.UnreadableError: "unreadable",
    images.DamagedError: "truncated or damaged",
    DataError: "not readable",
}


class Checked(NamedTuple):
    """Of M images: what is wrong with each (empty: nothing), digests and sizes.

    ``contents`` is uint64 [M]; images without content have different ones. ``sizes`` is
    int64 [M, 2], widths and heights; 0 where an image is not readable.
    """

    problems: list[tuple[str, str]]
    contents: np.ndarray
    sizes: np.ndarray


def check_originals(listing: SourceIndex, threads: int, progress: bool) -> Checked:
    """Opens and decodes every image of a source."""

    def look(position: int) -> tuple[tuple[str, str], int, tuple[int, int]]:
        name, content = listing.image_ids[position], position
        if listing.locate is not None and not listing.locate(position).is_file():
            return ("missing", name), content, (0, 0)
        try:
            data = listing.read(position)
            content = int(listing.content(position, data), 16)
            height, width = images.decode(data, name).shape[:2]
        except (DataError, OSError) as error:
            return (_kind(error), " ".join(str(error).split())), content, (0, 0)
        return ("", ""), content, (width, height)

    looked = list(_each(look, len(listing.image_ids), threads, progress))
    problems, contents, sizes = zip(*looked, strict=True)
    return Checked(list(problems), np.array(contents, np.uint64), np.array(sizes))


def check_stored(
    read: Callable[[int], np.ndarray],
    image_ids: Sequence[str],
    threads: int,
    progress: bool,
) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Decodes every image of a prepared folder.

    Returns:
        What is wrong with each (empty: nothing), and int64 [M, 2], widths and heights;
        0 where an image is not readable.
    """

    def look(position: int) -> tuple[tuple[str, str], tuple[int, int]]:
        try:
            height, width = read(position).shape[:2]
        except DataError as error:
            reason = " ".join(str(error).split())
            problem = "truncated or damaged", f"{image_ids[position]} ({reason})"
            return problem, (0, 0)
        return ("", ""), (width, height)

    looked = list(_each(look, len(image_ids), threads, progress))
    problems, sizes = zip(*looked, strict=True)
    return list(problems), np.array(sizes)


def small_images(
    sizes: np.ndarray, image_ids: Sequence[str], crop_size: int, name: str
) -> Iterator[Finding]:
    """A note with the readable images that are smaller than the crop, if there are.

    Of a user's own photos it says that a run chooses the crop by looking at them.
    """
    readable = np.flatnonzero(sizes.min(axis=1) > 0)
    small = smaller_than(sizes, image_ids, crop_size, readable)
    if small:
        text = f"{len(small):,} of {counted(len(image_ids), 'image')} smaller than"
        which = ""
        if name == "photos":
            which = " (--crop_size; experiments/configs/photos.py chooses its own)"
        text = f"{text} {crop_size} pixels{which}, enlarged when read: {some(small)}"
        yield Finding(False, text)


def findings(problems: list[tuple[str, str]]) -> Iterator[Finding]:
    """A defect for each kind of problem, with a count and the first images."""
    bad = [problem for problem in problems if problem[0]]
    for kind in ("missing", *_KINDS.values()):
        if lines := [text for found, text in bad if found == kind]:
            text = f"{len(lines):,} of {counted(len(problems), 'image')} {kind}"
            yield Finding(True, f"{text}: {some(lines)}")
    if not bad:
        text = f"{counted(len(problems), 'image')}, all there, readable and whole"
        yield Finding(False, text)


def _kind(error: Exception) -> str:
    return next((n for kind, n in _KINDS.items() if isinstance(error, kind)), "missing")


def _each(look: Callable, count: int, threads: int, progress: bool) -> Iterator:
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(look, range(count))
        yield from watched(found, "checking images", count, unit="img", shown=progress)
