"""Which label sets meet: computed by the sets that there are, not by their images."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Num

_CELLS = 2**22  # of a block, so that no table of all queries and all images is made


def sets_meet(
    labels: Num[np.ndarray, "n C"], others: Num[np.ndarray, "m C"]
) -> Bool[np.ndarray, "n m"]:
    """Where label sets of two lists share a label.

    >>> import numpy as np
    >>> from cgat_jax.retrieval.label_sets import sets_meet
    >>> sets_meet(np.eye(2, dtype=np.uint8), np.array([[0, 1], [1, 1], [0, 0]]))
    array([[False,  True, False],
           [ True,  True, False]])
    """
    found = np.empty((len(labels), len(others)), bool)
    for rows, meet in _blocks(labels, others):
        found[rows] = meet
    return found


def relevant_shares(
    query_labels: Num[np.ndarray, "Q C"], database_labels: Num[np.ndarray, "M C"]
) -> Float64[np.ndarray, " Q"]:
    """Share of the database that has a label in common with each query."""
    queries, which = np.unique(query_labels, axis=0, return_inverse=True)
    sets, counts = np.unique(database_labels, axis=0, return_counts=True)
    relevant, images = np.empty(len(queries)), counts.astype(np.float64)
    for rows, meet in _blocks(queries, sets):
        relevant[rows] = meet @ images
    return (relevant / len(database_labels))[which.reshape(-1)]


def _blocks(labels, others) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the first list, and where they meet the second."""
    columns = others.T.astype(np.float32)  # exact: sums of ones
    step = max(1, _CELLS // max(len(others), 1))
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        yield rows, labels[rows].astype(np.float32) @ columns > 0
