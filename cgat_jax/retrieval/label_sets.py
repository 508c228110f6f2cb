"""Which label sets meet: computed by the sets that there are, not by their images."""

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
    columns = others.T.astype(np.float32)  # exact: sums of ones
    step = max(1, _CELLS // max(len(others), 1))
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        found[rows] = labels[rows].astype(np.float32) @ columns > 0
    return found


def relevant_shares(
    query_labels: Num[np.ndarray, "Q C"], database_labels: Num[np.ndarray, "M C"]
) -> Float64[np.ndarray, " Q"]:
    """Share of the database that has a label in common with each query."""
    queries, which = np.unique(query_labels, axis=0, return_inverse=True)
    sets, counts = np.unique(database_labels, axis=0, return_counts=True)
    relevant = np.empty(len(queries))
    step = max(1, _CELLS // max(len(sets), 1))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        relevant[rows] = sets_meet(queries[rows], sets) @ counts
    return (relevant / len(database_labels))[which.reshape(-1)]
