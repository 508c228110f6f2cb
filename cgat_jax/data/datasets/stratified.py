"""A split with the same share of every label in each part."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Split, make_split
from cgat_jax.data.sources.source_index import SourceIndex

PHOTOS = Data(name="photos", num_queries=0, num_train=0)
"""The split's settings where a user says nothing of it: shares, not numbers."""

_POOL = 2_000


def draw_stratified(
    stored: SourceIndex, settings: Data, contents: np.ndarray | None = None
) -> Split:
    """Queries, database and training images, each with its share of every label.

    No image that has copies is a query, and every label keeps an image in the database,
    so that every query can be answered, unless ``num_database`` leaves no room for them
    all. The database is in stored order.

    Args:
        stored: the images and their labels.
        settings: sizes as numbers or, where these are 0, as fractions; the seed.
        contents: digests of the images' contents, where they are known.

    Raises:
        DataError: too few images for the sizes, or a part would be empty.
    """
    labels, total = stored.labels, len(stored.image_ids)
    rng = np.random.default_rng(settings.split_seed)
    order = rng.permutation(total)
    frame = order if contents is None else order[_is_single(contents)[order]]
    queries = settings.num_queries or max(1, round(settings.query_fraction * total))
    query = stratified(labels, frame, min(queries, len(frame)), rng)
    query = _keep_labels(labels, query, frame)
    if len(query) < (settings.num_queries or 1):
        raise DataError(
            f"data.num_queries={queries:,}: only {len(query):,} images can be queries, "
            "since every label keeps an image in the database and no query has copies"
        )
    rest = order[~np.isin(order, query)]
    if settings.num_database:
        _check_size("num_database", settings.num_database, len(rest))
        chosen = stratified(labels, rest, settings.num_database, rng)
        rest = _with_every_label(labels, chosen, rest)
    size = settings.num_train or round(settings.train_fraction * len(rest))
    _check_size("num_train", size, len(rest))
    train = stratified(labels, rest, size, rng)
    sizes = {"num_queries": len(query), "num_train": len(train)}
    return make_split(
        split_name(stored.name, dataclasses.replace(settings, **sizes)),
        stored.image_ids,
        query=query,
        database=np.sort(rest),
        train=train,
    )


def stratified(
    labels: UInt8[np.ndarray, "M C"],
    frame: Int64[np.ndarray, " n"],
    count: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, " k"]:
    """``count`` positions of a frame, each label by its share, in the frame's order.

    A systematic sample: the frame is sorted by labels, the rarest first, and every
    ``n / count``-th position is taken from a random one on. So with one label an image,
    the number of each label is less than one from ``count`` times its frequency. With
    several labels an image, exchanges bring the numbers nearer to that.

    Args:
        labels: multi-hot.
        frame: different positions in random order.
        count: at most as many as there are.
        rng: draws where to start.

    References:
        Madow and Madow, On the Theory of Systematic Sampling, 1944; that the rarest
        label comes first: Sechidis et al., On the Stratification of Multi-Label Data,
        2011.
    """
    if not count:
        return frame[:0]
    rarest = np.argsort(labels[frame].sum(axis=0, dtype=np.int64), kind="stable")
    bits = np.ascontiguousarray(np.packbits(labels[frame][:, rarest], axis=1))
    order = np.argsort(bits.view(f"S{bits.shape[1]}").ravel(), kind="stable")
    steps = (np.arange(count) + rng.random()) * (len(frame) / count)
    taken = np.zeros(len(frame), bool)
    taken[order[np.minimum(steps.astype(int), len(frame) - 1)]] = True
    _exchange(labels[frame], taken)
    return frame[taken]


def _exchange(rows: UInt8[np.ndarray, "n C"], taken: Bool[np.ndarray, " n"]) -> None:
    """Exchanges taken rows for others while that brings the labels' shares nearer.

    One of the first few thousand of either is exchanged at a time: the one that the
    squared distance to the shares falls most without, then the best instead of it.
    """
    inside, outside = np.flatnonzero(taken)[:_POOL], np.flatnonzero(~taken)[:_POOL]
    off = rows[taken].sum(axis=0) - taken.mean() * rows.sum(axis=0, dtype=np.int64)
    mine, others = rows[inside].astype(np.float32), rows[outside].astype(np.float32)
    for _ in range(len(inside) if len(outside) else 0):
        lost = mine @ (1 - 2 * off)
        out = int(lost.argmin())
        gained = others @ (1 + 2 * (off - mine[out]))
        into = int(gained.argmin())
        if lost[out] + gained[into] > -1e-6:
            return
        off += others[into] - mine[out]
        taken[inside[out]], taken[outside[into]] = False, True
        inside[out], outside[into] = outside[into], inside[out]
        mine[out], others[into] = others[into].copy(), mine[out].copy()


def _keep_labels(
    labels: np.ndarray, query: np.ndarray, frame: np.ndarray
) -> np.ndarray:
    """Queries without those that are a label's last image; others take their place."""
    left = labels.sum(axis=0, dtype=np.int64) - labels[query].sum(
        axis=0, dtype=np.int64
    )
    kept, others = [], frame[~np.isin(frame, query)]
    for position in query:
        row = labels[position] > 0
        if (left[row] > 0).all():
            kept.append(position)
        else:
            left[row] += 1
    for position in others:
        row = labels[position] > 0
        if len(kept) < len(query) and (left[row] > 1).all():
            kept.append(position)
            left[row] -= 1
    return np.array(kept, np.int64)


def _with_every_label(
    labels: np.ndarray, chosen: np.ndarray, frame: np.ndarray
) -> np.ndarray:
    """The chosen, with an image of each label that only others of the frame have.

    It takes the place of the last one whose labels others have as well; where there is
    none, the label stays lost.
    """
    chosen, counts = chosen.copy(), labels[chosen].sum(axis=0, dtype=np.int64)
    for label in np.flatnonzero(labels[frame].any(axis=0) & (counts == 0)):
        spare = np.flatnonzero(~labels[chosen][:, counts == 1].any(axis=1))
        if counts[label] or not len(spare):
            continue
        into = frame[labels[frame, label] > 0][0]
        counts -= labels[chosen[spare[-1]]]
        counts += labels[into]
        chosen[spare[-1]] = into
    return chosen


def split_name(dataset: str, settings: Data) -> str:
    """What a drawn split is called: data set, sizes, seed."""
    queries, train = settings.num_queries, settings.num_train
    suffix = f"-{settings.num_database}d" if settings.num_database else ""
    return f"{dataset}-{queries}q-{train}t{suffix}-seed{settings.split_seed}"


def _is_single(contents: np.ndarray) -> np.ndarray:
    """Bool [M], which contents no other image has."""
    _, group, times = np.unique(contents, return_inverse=True, return_counts=True)
    return times[group] == 1


def _check_size(name: str, size: int, available: int) -> None:
    if size > available:
        raise DataError(
            f"data.{name}={size:,}: there are {available:,} images that are no queries"
        )
