"""Data on which a number says nothing: no labels, one class, all images equal."""

import numpy as np

from cgat_jax.data.checks.chance import map_bounds
from cgat_jax.data.dataset import Split


def degeneracies(
    labels: np.ndarray, split: Split, contents: np.ndarray | None = None
) -> list[str]:
    """What makes numbers on these data meaningless; a plain sentence each.

    Args:
        labels: uint8 [M, C] of {0, 1}.
        split: positions of queries, database and training images.
        contents: uint64 [M], digests of the images' contents, where they are known.
    """
    found = _of_the_ranking(labels, split)
    if lines := _of_training(labels[np.unique(split.train)]):
        found += lines
    everyone = np.unique(np.concatenate([split.query, split.database]))
    if contents is not None and len(np.unique(contents[everyone])) == 1 < len(everyone):
        found.append(
            "all images have the same content, so that all codes are equal and every "
            "ranking is one of ties"
        )
    return found


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
