"""Filling an index from a folder of photos or from a data set, as often as one likes.

What is there already is not encoded again, so that a build that was interrupted goes
on, and one that is done does nothing.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgat_jax import progress
from cgat_jax.data.crops import center_crops
from cgat_jax.data.dataset import Dataset
from cgat_jax.search.beside import (
    Training,
    load_alarm,
    load_training,
    save_training,
)
from cgat_jax.search.index import Index
from cgat_jax.search.pictures import Photos, find_photos, origin_of, png, readable
from cgat_jax.search.rows import Id, Query

CHUNK = 256
"""Images between two writes: what an interruption costs at most."""
QUERIES, CLEAN = 200, 300
"""Queries of a run that come with its index, and further ones for its alarm."""
_SEED = 0  # of which ones these are
_TAKEN = "an image that is of no file has this id; remove that, or rename the file"


class Built(NamedTuple):
    """What came of a build; ``failed`` has a line for each file that was left out."""

    added: int
    changed: int
    removed: int
    others: int
    failed: dict[str, str]


def add_photos(
    index: Index,
    folder: Path,
    *,
    label_by_folder: bool = False,
    check_stop: Callable[[], None] = lambda: None,
) -> Built:
    """Brings an index up to a folder of photos.

    New files are added and changed ones encoded again, under their paths below the
    folder; what is gone is removed. Items that did not come from files stay. Files
    that cannot be read, whose names are no UTF-8 or ids of such items, or that are too
    small for a network that does not enlarge are left out.

    Args:
        index: lies in a folder, so that it goes on where it was interrupted.
        folder: of photos, with folders in it.
        label_by_folder: the name of the uppermost folder of a file is its class.
        check_stop: called between batches; ends the build by what it raises.

    Raises:
        InputError: there is no photo.
        OSError: the folder cannot be read, or the index not be written.
    """
    photos, known = find_photos(folder), index.catalogue.origins()
    from_files = {path for path, origin in known.items() if origin}
    taken = known.keys() - from_files
    failed = {path: f"{path}: {_TAKEN}" for path in photos.paths if path in taken}
    todo = [
        path
        for path in photos.paths
        if path not in taken and known.get(path) != _origin(photos, path)
    ]
    gone = from_files.difference(photos.paths)
    changed, added = from_files.intersection(todo), 0
    index.remove(sorted(gone))
    read = readable(photos, todo, failed, index.network.card)
    with progress.bar("index", len(todo), unit="img") as bar:
        while chunk := list(itertools.islice(read, CHUNK)):
            check_stop()
            paths, origins, images = (list(x) for x in zip(*chunk, strict=True))
            index.remove([path for path in paths if path in changed])
            labels = [Path(p).parts[:-1][:1] if label_by_folder else () for p in paths]
            index.add(images, paths, labels, origins=origins)
            added += len(chunk)
            bar.update(len(chunk))
    unreadable = changed.intersection(failed)
    index.remove(sorted(unreadable))
    again = len(changed) - len(unreadable)
    removed = len(gone) + len(unreadable)
    return Built(added - again, again, removed, photos.others, failed)


def add_dataset(
    index: Index,
    dataset: Dataset,
    *,
    queries: int = QUERIES,
    check_stop: Callable[[], None] = lambda: None,
) -> Built:
    """Fills an index with the database of a data set, and gives it queries.

    If it lies in a folder, the codes and labels of the training images go beside it,
    for center codes, and an alarm that is calibrated on queries that are not shown.

    Args:
        index: of a network that was trained on the data set.
        dataset: its images keep their ids; one that the database lists twice is one.
        queries: as many of the query images, with their labels, come with the index;
            drawn, the same each time.
        check_stop: as in ``add_photos``.
    """
    positions = _unique(dataset, dataset.split.database)
    known, added = index.catalogue.origins(), 0
    todo = [i for i in positions if dataset.image_ids[i] not in known]
    with progress.bar("index", len(todo), unit="img") as bar:
        for start in range(0, len(todo), CHUNK):
            check_stop()
            some = todo[start : start + CHUNK]
            images = [dataset.read(i) for i in some]
            ids = [dataset.image_ids[i] for i in some]
            index.add(images, ids, [names_of(dataset, i) for i in some])
            added += len(some)
            bar.update(len(some))
    index.catalogue.set_queries(_queries(index, dataset, queries))
    if index.path is not None:
        _save_training(index, dataset, check_stop)
        load_alarm(index, load_training(index))
    return Built(added, 0, 0, 0, {})


def names_of(dataset: Dataset, position: int) -> tuple[str, ...]:
    """The names of an image's classes."""
    present = np.flatnonzero(dataset.labels[position])
    return tuple(dataset.class_names[c] for c in present)


def _unique(dataset: Dataset, positions: np.ndarray) -> list[int]:
    seen: dict[Id, int] = {}
    for position in positions.tolist():
        seen.setdefault(dataset.image_ids[position], position)
    return list(seen.values())


def _queries(index: Index, dataset: Dataset, count: int) -> Iterator[Query]:
    sizes = {k: index.network.card[k] for k in ("image_size", "crop_size", "enlarge")}
    positions = _unique(dataset, dataset.split.query)
    # A split may be in the order of classes, and an alarm is to know all of them.
    drawn = np.random.default_rng(_SEED).permutation(positions)[: count + CLEAN]
    for place, position in enumerate(drawn.tolist()):
        (crop,) = center_crops([dataset.read(position)], **sizes)
        labels = names_of(dataset, position)
        id_ = dataset.image_ids[position]
        yield Query(id_, labels, png(crop), clean=place >= count)


def _save_training(
    index: Index, dataset: Dataset, check_stop: Callable[[], None]
) -> None:
    if load_training(index) is not None:
        return
    positions, codes = dataset.split.train, []
    with progress.bar("training images", len(positions), unit="img") as bar:
        for start in range(0, len(positions), CHUNK):
            check_stop()
            images = [dataset.read(int(i)) for i in positions[start : start + CHUNK]]
            codes.append(index.network.encode(images))
            bar.update(len(images))
    labels = np.ascontiguousarray(dataset.labels[positions], np.uint8)
    found = Training(np.concatenate(codes), labels, tuple(dataset.class_names))
    save_training(index, found)


def _origin(photos: Photos, path: str) -> str:
    try:
        return origin_of(photos.folder / path)
    except OSError:
        return ""
