"""Whom targeted attacks imitate: label sets of the database, drawn once a data set."""

from collections.abc import Callable

import numpy as np

from cgat_jax.errors import InputError
from cgat_jax.retrieval import average_precision_at
from cgat_jax.retrieval.label_sets import sets_meet

ANCHORS = 9


def draw_targets(
    query_labels: np.ndarray, database_labels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A target label set for each query, which shares no class with its own.

    Drawn uniformly from the database's unique label sets that have a class, more than
    nine images and nothing in common with the query; where there is none of more than
    nine images, from all.

    Args:
        query_labels: multi-hot [Q, C].
        database_labels: multi-hot [M, C].
        rng: draws once a query, in order.

    Returns:
        Multi-hot [Q, C], uint8.

    Raises:
        InputError: no image of the database has a label, or a query shares a class
            with each that has; names its row in the list of queries.

    References:
        CgAT, WWW 2023, Sec. 4.1 (random targets without a common category); DHTA, Bai
        et al., ECCV 2020 (nine images each).
    """
    sets, counts = np.unique(database_labels, axis=0, return_counts=True)
    sets, counts = sets[sets.any(axis=1)], counts[sets.any(axis=1)]
    if not len(sets):
        raise InputError(
            "no image of the database has a label: targeted attacks need label sets "
            "to move to; check the labels, or leave targeted attacks out"
        )
    disjoint = ~sets_meet(query_labels, sets)
    targets = np.zeros(query_labels.shape, np.uint8)
    for row, candidates in enumerate(disjoint):
        frequent = np.flatnonzero(candidates & (counts > ANCHORS))
        chosen = frequent if len(frequent) else np.flatnonzero(candidates)
        if not len(chosen):
            raise InputError(
                f"row {row} of the list of queries (counted from 0) shares a class "
                "with every image of the database that has a label: targeted attacks "
                "need one that does not; leave that query or targeted attacks out"
            )
        targets[row] = sets[rng.choice(chosen)]
    return targets


def anchor_codes(
    targets: np.ndarray,
    database_codes: np.ndarray,
    database_labels: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Codes that stand for label sets: the majority of ``count`` images of each.

    Images are drawn with replacement from the database's images of exactly that label
    set; one image gives P2P's target, nine DHTA's anchor.

    Args:
        targets: label sets of the database, multi-hot [Q, C].
        database_codes: binary codes [M, K].
        database_labels: multi-hot [M, C].
        count: odd, so that no bit ties.
        rng: draws once a query, in order.

    Returns:
        Codes in {-1, +1}, float32 [Q, K].

    References:
        Bai et al., Targeted Attack for Deep Hashing based Retrieval, ECCV 2020, Sec.
        3.3 (component-wise voting).
    """
    anchors = np.zeros((len(targets), database_codes.shape[1]), np.float32)
    _, set_of = np.unique(
        np.concatenate([database_labels, targets]), axis=0, return_inverse=True
    )
    images, wanted = set_of[: len(database_labels)], set_of[len(database_labels) :]
    for row, label_set in enumerate(wanted):
        members = np.flatnonzero(images == label_set)
        drawn = database_codes[rng.choice(members, count)]
        anchors[row] = np.sign(drawn.astype(np.int64).sum(axis=0))
    return anchors


def hardest_codes(
    query_labels: np.ndarray,
    database_codes: np.ndarray,
    database_labels: np.ndarray,
    top_k: int,
    stream: Callable[[int], np.random.Generator],
) -> np.ndarray:
    """For each query, of nine anchor codes that which retrieves least for its labels.

    The nine label sets are drawn from those that share no class with the query, each
    once before any comes again; a query that shares a class with every image draws from
    all label sets. A query's draws do not depend on the others.

    Args:
        query_labels: multi-hot [Q, C].
        database_codes: binary codes [M, K].
        database_labels: multi-hot [M, C].
        top_k: where average precision cuts.
        stream: ``stream(row)`` makes the generator of a query's draws.

    Returns:
        Codes in {-1, +1}, float32 [Q, K].
    """
    sets, set_of = np.unique(database_labels, axis=0, return_inverse=True)
    set_of = set_of.reshape(-1)
    members = np.split(
        np.argsort(set_of, kind="stable"), np.cumsum(np.bincount(set_of))[:-1]
    )
    disjoint = ~sets_meet(query_labels, sets)
    disjoint[~disjoint.any(axis=1)] = True
    anchors = np.zeros((len(query_labels), ANCHORS, database_codes.shape[1]), np.int8)
    for row, allowed in enumerate(disjoint):
        rng = stream(row)
        drawn = np.resize(rng.permutation(np.flatnonzero(allowed)), ANCHORS)
        for place, number in enumerate(drawn):
            codes = database_codes[rng.choice(members[number], ANCHORS)]
            anchors[row, place] = np.sign(codes.astype(np.int64).sum(axis=0))
    precision = average_precision_at(
        anchors.reshape(-1, anchors.shape[2]),
        query_labels.repeat(ANCHORS, axis=0),
        database_codes,
        database_labels,
        top_k=top_k,
    )
    hardest = precision.reshape(-1, ANCHORS).argmin(axis=1)
    return anchors[np.arange(len(anchors)), hardest].astype(np.float32)
