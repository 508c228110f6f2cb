"""How unusual codes are: numbers that grow with it, in NumPy."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from cgat_jax.alarm.views import MOVED
from cgat_jax.centers import center_codes
from cgat_jax.errors import InputError
from cgat_jax.retrieval.hamming import PackedCodes, distance_keys, key_scale, pack_codes
from cgat_jax.types import Bank

NEIGHBORS = 10
NAMES = ("neighbors", "center", "moved", "filtered")
"""The statistics, in order; ``center`` is absent where no center codes are known."""
_BLOCK = 512  # label sets whose center codes are made at once


def statistics(
    logits: Float[np.ndarray, "V n K"],
    database: PackedCodes,
    centers: PackedCodes | None = None,
) -> Float64[np.ndarray, "n S"]:
    """How unusual queries are, each number in [0, 1]; columns as in ``NAMES``.

    - ``neighbors``: mean Hamming distance to the 10 nearest database codes, over K;
    - ``center``: Hamming distance to the nearest center code, over K;
    - ``moved``: mean of |tanh(z') - tanh(z)| / 2 over the bits and the views that move
      pixels: the share of the relaxed code that changes;
    - ``filtered``: the same over the other views.

    Args:
        logits: of the images and then of their views, see ``view_images``.
        database: codes that are searched.
        centers: center codes of the label sets, if known.
    """
    if not logits.shape[1]:
        return np.empty((0, len(NAMES) - (centers is None)))
    relaxed = np.tanh(logits.astype(np.float64))
    change = np.abs(relaxed[1:] - relaxed[0]).mean(axis=2) / 2
    moved, filtered = change[: len(MOVED)], change[len(MOVED) :]
    queries = pack_codes(np.sign(logits[0]))
    columns = [nearest_distances(queries, database, NEIGHBORS)]
    if centers is not None:
        columns.append(nearest_distances(queries, centers, 1))
    return np.stack([*columns, moved.mean(axis=0), filtered.mean(axis=0)], axis=1)


def nearest_distances(
    queries: PackedCodes, database: PackedCodes, count: int
) -> Float64[np.ndarray, " n"]:
    """Mean Hamming distance, over K, of each query to its ``count`` nearest codes.

    Of a database that holds fewer, all count.
    """
    count, scale = min(count, database.num_items), key_scale(queries, database)
    found = np.empty(queries.num_items)
    for query in range(queries.num_items):
        keys = distance_keys(queries, query, database)
        sizes = np.bincount(keys)
        taken = np.minimum(sizes.cumsum(), count)  # of the count nearest, up to here
        found[query] = np.diff(taken, prepend=0) @ np.arange(len(sizes))
    return found / (count * scale * queries.num_bits)


def label_set_centers(
    codes: np.ndarray, labels: np.ndarray
) -> Float[np.ndarray, "S K"]:
    """Center codes of all label sets that occur, each code once, as ``Alarm`` takes.

    >>> import numpy as np
    >>> from cgat_jax.alarm import label_set_centers
    >>> codes = np.array([[1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    >>> label_set_centers(codes, np.array([[1, 0], [1, 0], [0, 1]])).astype(int)
    array([[-1, -1,  1],
           [ 1,  1, -1]])

    Args:
        codes: binary codes [N, K] of the training images, in {-1, 0, +1}.
        labels: their labels, multi-hot [N, C]; images without a label stand for none.

    Raises:
        InputError: no image has a label.

    References:
        CgAT, WWW 2023, Eq. 5.
    """
    sets = np.unique(labels, axis=0)
    sets = sets[sets.any(axis=1)].astype(np.float32)
    if not len(sets):
        raise InputError("labels: no image has a label, so that there is no center")
    bank = Bank(jnp.asarray(codes, jnp.float32), jnp.asarray(labels, jnp.float32))
    found = [
        center_codes(jnp.asarray(sets[start : start + _BLOCK]), bank, binary=True)
        for start in range(0, len(sets), _BLOCK)
    ]
    return np.unique(np.concatenate(found), axis=0)
