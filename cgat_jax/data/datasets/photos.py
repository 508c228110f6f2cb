"""A user's own photos, in whichever layout they lie; it is recognized by looking.

- a folder a class, perhaps below ``train``, ``val`` and ``test``
  (``cgat_jax.data.datasets.class_folders``);
- a CSV or a JSON lines file at the top (``cgat_jax.data.datasets.tables``);
- the field's six split files (``cgat_jax.data.datasets.lists``).

Single folders around all of it are passed through. Where the source names no split, it
is drawn with ``data.split_seed``, stratified by label.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.checks.unused import check_undrawn
from cgat_jax.data.dataset import DataError, Dataset, Split, make_split
from cgat_jax.data.datasets.class_folders import read_folders
from cgat_jax.data.datasets.labeled import Labeled, index_of
from cgat_jax.data.datasets.lists import scan_lists
from cgat_jax.data.datasets.stratified import draw_stratified
from cgat_jax.data.datasets.tables import find_tables, is_metadata, lacking, read_tables
from cgat_jax.data.prepare.manifest import read_contents, read_manifest
from cgat_jax.data.prepare.opened import dataset_of, open_prepared
from cgat_jax.data.sources.image_files import ImageFiles, image_files, within
from cgat_jax.data.sources.source_file import (
    NothingHereError,
    SourceFile,
    below,
    counted,
    search,
    some,
)
from cgat_jax.data.sources.source_index import SourceIndex

NAME = "photos"
_EXPECTED = (
    "expected a folder a class (cat/1.jpg), a CSV or JSON lines file with the columns "
    "path and labels, or the split files {train,test,database}_img.txt and _label.txt"
)


def scan_photos(places: Sequence[SourceFile]) -> SourceIndex:
    """Recognizes the layout of the first place that has photos, and reads it.

    Raises:
        DataError: no layout that is known, or everything that is wrong with it.
    """
    if search(places, "train_img.txt") is not None:
        return dataclasses.replace(
            scan_lists(places), name=NAME, layout="the split files of the field"
        )
    for place in places:
        if (found := _scan(place)) is not None:
            return found
    where = ", ".join(str(place).rstrip("/") for place in places)
    raise NothingHereError(f"{where}: no photos with labels there; {_EXPECTED}")


def _scan(place: SourceFile) -> SourceIndex | None:
    files, others = image_files(place), []
    for wrapper in _wrappers(files):
        inside, inner = below(place, wrapper), within(files, wrapper)
        tables = find_tables(inner)
        listing = [name for name in tables if not is_metadata(inside, name)]
        if (found := read_tables(inside, listing, inner)) is not None:
            return index_of(inside, _in_wrapper(found, files, wrapper), NAME)
        others += [(inside, name) for name in tables]
    found = read_folders(place, files)
    if others and (found is None or len(set(found.labels)) < 2):
        raise DataError("; ".join(lacking(*table) for table in others))
    return None if found is None else index_of(place, found, NAME)


def _wrappers(files: ImageFiles) -> Iterator[str]:
    """Yields "", the top, then each single folder that all images below it lie in."""
    wrapper, tops = "", {""}
    while len(tops) == 1:
        yield (wrapper := wrapper + tops.pop())
        inner = within(files, wrapper).images
        tops = {f"{name.partition('/')[0]}/" for name in inner if "/" in name}


def _in_wrapper(found: Labeled, files: ImageFiles, wrapper: str) -> Labeled:
    """What a table lists, with what was passed through and over on the way to it."""
    if not wrapper:
        return found
    outside = [name for name in files.images if not name.startswith(wrapper)]
    notes = found.notes
    if outside:
        text = f"{counted(len(outside), 'image')} not in {wrapper}, left out"
        notes = (*notes, f"{text}: {some(outside)}")
    layout = f"{found.layout} in {wrapper.rstrip('/')}"
    return found._replace(layout=layout, notes=notes)


def load_photos(settings: Data, root: Path) -> Dataset:
    """The prepared photos with the split of their source, or a drawn one.

    Logs what was left out (warnings).

    Raises:
        DataError: not prepared, damaged, prepared with other settings; or as
            ``split_photos``.
    """
    stored = open_prepared(root, NAME, settings.image_size)
    for line in stored.notes:
        logging.getLogger(__name__).warning(line)
    contents = read_contents(root, read_manifest(root))
    split = split_photos(stored, settings, contents)
    return dataset_of(root, stored, split, settings)


def split_photos(
    stored: SourceIndex, settings: Data, contents: np.ndarray | None = None
) -> Split:
    """The split that the source names, or a stratified one, drawn.

    Args:
        stored: the photos and their labels.
        settings: of the split.
        contents: digests of the photos' contents, where they are known; copies are then
            not drawn as queries.

    Raises:
        DataError: too few images for the sizes, or sizes where the source names the
            split.
    """
    if not stored.parts:
        return draw_stratified(stored, settings, contents)
    check_undrawn(settings)
    return make_split(NAME, stored.image_ids, **stored.parts)
