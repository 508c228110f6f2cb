"""Images that are copies of others, byte by byte."""

from collections.abc import Sequence

import numpy as np

from cgat_jax.data.dataset import Split, parts_of
from cgat_jax.data.sources.source_file import counted

MAX_GROUPS = 3


def copies(contents: np.ndarray) -> list[np.ndarray]:
    """Groups of positions with equal digests, each of two or more, in order."""
    order = np.argsort(contents, kind="stable")
    starts = np.flatnonzero(np.diff(contents[order])) + 1
    groups = [np.sort(group) for group in np.split(order, starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def copied_queries(split: Split, contents: np.ndarray) -> dict[str, np.ndarray]:
    """{database, train: the queries with a copy there under another name}, if any.

    Queries that are in a list themselves are none: those are counted as such.
    """
    found = {}
    for part in ("database", "train"):
        rows = parts_of(split)[part]
        twins = np.isin(contents[split.query], contents[rows])
        found[part] = split.query[twins & ~np.isin(split.query, rows)]
    return {part: queries for part, queries in found.items() if len(queries)}


def describe_copies(groups: Sequence[np.ndarray], image_ids: Sequence[str]) -> str:
    """A line on how many images are copies, and the first of them."""
    if not groups:
        return "no two images have the same content"
    extra = sum(len(group) - 1 for group in groups)
    first = [" = ".join(image_ids[i] for i in g[:3]) for g in groups[:MAX_GROUPS]]
    more = ", ..." if len(groups) > MAX_GROUPS else ""
    copied = counted(extra, "copy", "copies")
    return f"{copied} of other images: {', '.join(first)}{more}"
