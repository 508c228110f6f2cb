"""Data on which a number says nothing, or too much: no labels, one class, copies."""

import numpy as np

from cgat_jax.data.checks.chance import map_bounds
from cgat_jax.data.checks.contents import copied_queries
from cgat_jax.data.dataset import Split
from cgat_jax.data.sources.source_file import counted
from cgat_jax.retrieval.label_sets import relevant_shares

_LISTS = {"database": "in the database", "train": "among the training images"}


def degeneracies(
    labels: np.ndarray, split: Split, contents: np.ndarray | None = None
) -> list[str]:
    """What makes numbers on these data meaningless or too good; a plain sentence each.

    Args:
        labels: uint8 [M, C] of {0, 1}.
        split: positions of queries, database and training images.
        contents: uint64 [M], digests of the images' contents, where they are known.
    """
    found = meaningless(labels, split) or [
        *_unanswered(labels, split),
        *_without_center(labels, split),
    ]
    if contents is None:
        return found
    everyone = np.unique(np.concatenate([split.query, split.database]))
    if len(np.unique(contents[everyone])) == 1 < len(everyone):
        return [
            *found,
            "all images have the same content, so that all codes are equal and every "
            "ranking is one of ties",
        ]
    return [*found, *leaks(split, contents)]


def meaningless(labels: np.ndarray, split: Split) -> list[str]:
    """What about the labels makes every number meaningless; a plain sentence each."""
    return _of_the_ranking(labels, split) + _of_training(labels[np.unique(split.train)])


def leaks(split: Split, contents: np.ndarray) -> list[str]:
    """Sentences on queries with copies in the database or among training images."""
    return [
        f"{len(rows):,} of {counted(len(split.query), 'query', 'queries')} with a copy "
        f"{_LISTS[part]}, so that numbers are better than those of new images"
        for part, rows in copied_queries(split, contents).items()
    ]


def _unanswered(labels: np.ndarray, split: Split) -> list[str]:
    """A sentence on queries whose labels no database image has, if there are."""
    query = labels[split.query]
    query = query[query.any(axis=1)]
    if not (lost := map_bounds(query, labels[split.database]).unanswerable):
        return []
    return [
        f"{lost:,} of {counted(len(split.query), 'query', 'queries')} with no label "
        "that a database image has, so that no answer to them is right"
    ]


def _without_center(labels: np.ndarray, split: Split) -> list[str]:
    """A sentence on queries with labels that no training image has, if there are."""
    query = labels[split.query]
    query = query[query.any(axis=1)]
    shares = relevant_shares(query, labels[np.unique(split.train)])
    if not (lost := int((shares == 0).sum())):
        return []
    return [
        f"{lost:,} of {counted(len(split.query), 'query', 'queries')} with no label "
        "that a training image has, so that their center codes are 0 and attacks on "
        "centers (cgat, apgd, square) are weak for them"
    ]


def _of_the_ranking(labels: np.ndarray, split: Split) -> list[str]:
    query, database = labels[split.query], labels[split.database]
    if not query.any() and not database.any():
        return ["no image has a label, so that every MAP is 0"]
    for name, rows in (("query", query), ("database image", database)):
        if not rows.any():
            return [f"no {name} has a label, so that every MAP is 0"]
    bounds = map_bounds(query, database)
    if bounds.ceiling == 0:
        return ["no query shares a label with a database image, so that every MAP is 0"]
    if bounds.chance == 1:
        return [
            "every database image is relevant to every query, so that every MAP is 1"
        ]
    return []


def _of_training(rows: np.ndarray) -> list[str]:
    if not rows.any():
        return ["no training image has a label, so that no two of them are similar"]
    if len(rows) > 1 and map_bounds(rows, rows).chance == 1:
        return [
            "all training images share labels, so that there is nothing to tell apart"
        ]
    return []
