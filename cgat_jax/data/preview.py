"""What a source is, in five lines, before anything is written."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgat_jax.data import SCANS, images
from cgat_jax.data.checks.chance import chance_line
from cgat_jax.data.checks.degenerate import degeneracies
from cgat_jax.data.checks.doctor import single_images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets.splits import splits_or_why
from cgat_jax.data.sources.source_file import counted, some
from cgat_jax.data.sources.source_index import SourceIndex, list_source
from cgat_jax.errors import lookup
from cgat_jax.progress import watched


class Seen(NamedTuple):
    """What was seen of a source: the lines, and the images that cannot be used."""

    lines: list[str]
    unusable: list[str]


def preview(name: str, source: Path, *, threads: int, progress: bool) -> Seen:
    """Layout, images, classes, the default split, and what is left out or wrong.

    Of every image the header alone is read.

    Args:
        name: of the data set, a key of ``cgat_jax.data.SCANS``.
        source: folder of the original files or their archives, or one archive.
        threads: that read.
        progress: a bar on stderr, where that is a terminal.

    Raises:
        DataError: a bad list, missing images or a bad archive.
    """
    scan = lookup("data set", name, SCANS)
    with tempfile.TemporaryDirectory(prefix="cgat_jax-") as unpacked:
        listing = list_source(scan, source, Path(unpacked), progress)
        sizes, unusable = image_sizes(
            listing, range(len(listing.image_ids)), threads, progress
        )
    split, odd = _split(listing)
    lines = [
        f"layout: {listing.layout or listing.name}, in {source}",
        f"images: {_sizes(len(listing.image_ids), sizes)}",
        f"classes: {_classes(listing)}",
        f"split: {split}",
    ]
    noted = [*listing.notes, *single_images(listing)]
    notes = ". ".join(noted) or "nothing left out"
    wrong = ". ".join([*odd, *_problems(unusable)]) or "nothing"
    lines.append(f"notes: {notes}; wrong: {wrong}")
    return Seen(lines, unusable)


def image_sizes(
    listing: SourceIndex, rows: Sequence[int], threads: int, progress: bool
) -> tuple[np.ndarray, list[str]]:
    """Widths and heights by the images' headers, and a line on each without one.

    Args:
        listing: of a source that is at hand.
        rows: positions to look at.
        threads: that read.
        progress: a bar on stderr, where that is a terminal.

    Returns:
        int64 [n, 2] of the images that have a header, and the lines.
    """

    def look(row: int) -> tuple[int, int] | str:
        name = listing.image_ids[row]
        try:
            return images.size_of(listing.read(row), name)
        except DataError as error:
            return " ".join(str(error).split())

    with ThreadPoolExecutor(threads) as pool:
        found, count = pool.map(look, rows), len(rows)
        found = watched(found, "looking at images", count, unit="img", shown=progress)
        looked = list(found)
    sizes = [size for size in looked if not isinstance(size, str)]
    problems = [problem for problem in looked if isinstance(problem, str)]
    return np.array(sizes, np.int64).reshape(-1, 2), problems


def _sizes(count: int, sizes: np.ndarray) -> str:
    if not len(sizes):
        return f"{count:,}"
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    ends = [f"{width} x {height}" for width, height in sizes[order][[0, -1]]]
    span = " to ".join(dict.fromkeys(ends))
    short = int(np.median(sizes.min(axis=1)))
    return f"{count:,}, {span} pixels (median short side {short})"


def _classes(listing: SourceIndex) -> str:
    counts = listing.labels.sum(axis=0, dtype=np.int64)
    rarest = np.argsort(counts, kind="stable")
    named = some([f"{listing.class_names[i]} {counts[i]:,}" for i in rarest])
    each = listing.labels.sum() / len(listing.labels)
    span = f"{counts.min():,} to {counts.max():,} images each"
    return f"{len(counts):,}, {each:.2f} labels an image, {span}, rarest first: {named}"


def _split(listing: SourceIndex) -> tuple[str, list[str]]:
    """The default split in a line, and what makes numbers on it meaningless."""
    splits, why = splits_or_why(listing, None)
    if why:
        return "none can be drawn", why
    if not splits:
        return "too few images for the paper's; set data.num_queries and num_train", []
    (split,) = splits
    how = "named by the source" if listing.parts else "drawn with data.split_seed=0"
    parts = f"{len(split.query):,} query, {len(split.database):,} database and "
    return (
        f"{parts}{len(split.train):,} training images, {how}; "
        f"{chance_line(listing.labels, split)}",
        degeneracies(listing.labels, split),
    )


def _problems(unusable: Sequence[str]) -> list[str]:
    if not unusable:
        return []
    return [f"{counted(len(unusable), 'image')} not usable: {some(unusable)}"]
