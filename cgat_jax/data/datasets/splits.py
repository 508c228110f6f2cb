"""Who is query, database and training image: drawn with a seed, or as released."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset, Split, make_split, repeats
from cgat_jax.data.datasets.released import has_released, open_released
from cgat_jax.data.datasets.stratified import PHOTOS, draw_stratified, split_name
from cgat_jax.data.prepare.opened import dataset_of, open_prepared
from cgat_jax.data.sources.known import KNOWN
from cgat_jax.data.sources.source_index import SourceIndex

Draw = Callable[[SourceIndex, Data], Split]


def load_prepared(name: str, settings: Data, root: Path, draw: Draw) -> Dataset:
    """The prepared data set with the split that the settings ask for.

    Logs what was left out and what is odd about a released split (warnings).

    Raises:
        DataError: not prepared, damaged, prepared with other settings, no released
            split there, or fewer images than the drawn split needs.
    """
    stored = open_prepared(root, name, settings.image_size)
    logger = logging.getLogger(__name__)
    if settings.split == "released":
        split, notes = open_released(root, stored)
        for line in (*notes, *repeats(split)):
            logger.warning(line)
    else:
        split = draw(stored, settings)
    for line in stored.notes:
        logger.warning(line)
    return dataset_of(root, stored, split, settings)


def splits_of(
    stored: SourceIndex, root: Path | None, contents: np.ndarray | None = None
) -> list[Split]:
    """The splits that a run can use: the files' own or, drawn, its default one.

    Of a data set of the paper these are the paper's, which is left out where there are
    fewer images than it needs, and the released one, if it is there.

    Args:
        stored: what is listed.
        root: of the prepared data, if they are.
        contents: digests of the images' contents, where they are known.
    """
    if stored.parts:
        return [make_split(stored.name, stored.image_ids, **stored.parts)]
    if stored.name == PHOTOS.name:
        return [draw_stratified(stored, PHOTOS, contents)]
    queries, database, train = KNOWN[stored.name].paper
    splits = []
    if len(stored.image_ids) >= queries + database:
        draw = draw_balanced if stored.name == "cifar10" else draw_split
        sizes = Data(num_queries=queries, num_train=train)
        splits.append(draw(stored, sizes))
    if root is not None and has_released(root):
        splits.append(open_released(root, stored)[0])
    return splits


def splits_or_why(
    stored: SourceIndex, root: Path | None, contents: np.ndarray | None = None
) -> tuple[list[Split], list[str]]:
    """As ``splits_of``, and a line on why no split of photos can be drawn, if so."""
    try:
        return splits_of(stored, root, contents), []
    except DataError as error:
        if stored.name != PHOTOS.name:
            raise
        return [], [str(error)]


def draw_split(stored: SourceIndex, settings: Data) -> Split:
    """Random queries, database and training images, a function of names and settings.

    The three are pieces of one permutation: queries, then the database, the first
    ``num_train`` of which train. So a smaller database or training set is part of the
    larger one of the same seed. The database is in stored order, which reads fastest.

    Raises:
        DataError: fewer images than ``num_queries`` and the larger of ``num_database``
            and ``num_train``, or an empty part.
    """
    queries, total = settings.num_queries, len(stored.image_ids)
    size = _database_size(total, settings)
    order = np.random.default_rng(settings.split_seed).permutation(total)
    return make_split(
        split_name(stored.name, settings),
        stored.image_ids,
        query=order[:queries],
        database=np.sort(order[queries : queries + size]),
        train=order[queries : queries + settings.num_train],
    )


def draw_balanced(stored: SourceIndex, settings: Data) -> Split:
    """As ``draw_split``, with equally many queries and training images of each class.

    For one label an image. Queries are drawn from the images named ``test/``, training
    images from the others; what neither is fills the database up.

    Raises:
        DataError: numbers that are no multiple of the classes, more than there are of
            a class, or an empty part.
    """
    total, classes = stored.labels.shape
    size = _database_size(total, settings)
    order = np.random.default_rng(settings.split_seed).permutation(total)
    from_test = np.array([name.startswith("test/") for name in stored.image_ids])
    test, other = order[from_test[order]], order[~from_test[order]]
    query = _of_each_class("num_queries", settings.num_queries, test, stored.labels)
    train = _of_each_class("num_train", settings.num_train, other, stored.labels)
    chosen = np.concatenate([query, train])
    rest = np.concatenate([other, test])
    rest = rest[~np.isin(rest, chosen)][: size - len(train)]
    return make_split(
        split_name(stored.name, settings),
        stored.image_ids,
        query=query,
        database=np.sort(np.concatenate([train, rest])),
        train=train,
    )


def _of_each_class(
    name: str, count: int, order: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The first ``count / C`` positions of each class in ``order``, in that order."""
    classes = labels.shape[1]
    each, rest = divmod(count, classes)
    if rest:
        raise DataError(f"{name}={count:,}: expected a multiple of {classes} classes")
    rows = labels[order]
    few = int(rows.sum(axis=0).min())
    if each > few:
        raise DataError(f"{name}={count:,}: {each:,} a class, and one has only {few:,}")
    return order[(rows * (rows.cumsum(axis=0, dtype=np.int64) <= each)).any(axis=1)]


def _database_size(total: int, settings: Data) -> int:
    size = settings.num_database or total - settings.num_queries
    needed = settings.num_queries + max(size, settings.num_train)
    if needed > total or size < settings.num_train:
        raise DataError(
            f"the split needs {needed:,} images (num_queries={settings.num_queries:,}, "
            f"num_database={settings.num_database:,}, num_train={settings.num_train:,})"
            f", and there are {total:,}; num_train may be at most the database"
        )
    return size
