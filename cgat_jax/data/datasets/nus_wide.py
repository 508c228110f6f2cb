"""NUS-WIDE: web photos with the 21 most frequent of its 81 concepts.

Read from the official text files, in their archives or unpacked, in any folders:

- ``Concepts81.txt``, a concept a line;
- either ``Imagelist.txt`` with ``Labels_<concept>.txt`` (``AllLabels``), or
  ``TrainImagelist.txt`` and ``TestImagelist.txt`` with ``Labels_<concept>_Train.txt``
  and ``_Test.txt`` (``TrainTestLabels``): a path, or a 0 or 1, a line. Where both are
  there, the first is used, because one line of the second is damaged.
- the photos, in the folders of the image list (``actor/0001_2124494179.jpg``) or all
  in one folder, under that name or under the photo's number alone.

Images without one of the 21 labels are left out: 195,834 of 269,648 stay, in the order
of their names, so that either form of the lists gives the same.

References:
    Chua et al., NUS-WIDE, CIVR 2009. The split of CgAT (WWW 2023): 2,100 queries, a
    database of the other 193,734, 10,500 of which train.
"""

import collections
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset
from cgat_jax.data.datasets.released import photo_number
from cgat_jax.data.datasets.splits import draw_split, load_prepared
from cgat_jax.data.sources.source_file import (
    NothingHereError,
    SourceFile,
    below,
    find,
    read_text,
    search,
)
from cgat_jax.data.sources.source_index import SourceIndex

NAME = "nus_wide"

# In the order of the columns of the released split files: by falling frequency.
CLASS_NAMES = (
    *("sky", "clouds", "person", "water", "animal", "grass", "buildings", "window"),
    *("plants", "lake", "ocean", "road", "flowers", "sunset", "reflection", "rocks"),
    *("vehicle", "snow", "tree", "beach", "mountain"),
)
_ALL = {"": "Imagelist.txt"}
_HALVES = {"_Train": "TrainImagelist.txt", "_Test": "TestImagelist.txt"}


def scan_nus_wide(places: Sequence[SourceFile]) -> SourceIndex:
    """Reads the image lists and labels; images are in the order of their names.

    Raises:
        DataError: a missing or inconsistent text file, a line that is none of its
            kind, an image listed twice, or no image where any of them could be.
    """
    concepts = read_text(find(places, "Concepts81.txt")).split()
    if unknown := [name for name in CLASS_NAMES if name not in concepts]:
        raise DataError(f"{places[0]}: Concepts81.txt lacks {', '.join(unknown)}")
    names, labels, notes = _read_lists(places)
    kept = [i for i in np.argsort(np.array(names)).tolist() if labels[i].any()]
    if not kept:
        raise DataError(f"{places[0]}: no image has one of the 21 labels")
    image_ids = tuple(names[i] for i in kept)
    locate = _find_photos(places, image_ids)
    left_out = len(names) - len(kept)
    lines = (
        f"{left_out:,} of {len(names):,} images have none of the 21 labels, left out"
    )
    return SourceIndex(
        name=NAME,
        class_names=CLASS_NAMES,
        image_ids=image_ids,
        labels=labels[kept],
        parts={},
        notes=(*notes, lines),
        locate=locate,
    )


def load_nus_wide(settings: Data, root: Path) -> Dataset:
    """The prepared data set with the split that the settings ask for.

    Raises:
        DataError: as ``load_prepared``.
    """
    return load_prepared(NAME, settings, root, draw_split)


def _read_lists(
    places: Sequence[SourceFile],
) -> tuple[list[str], np.ndarray, list[str]]:
    """Names of all images, their labels uint8 [n, 21], and lines on what was mended."""
    lists = _ALL if search(places, _ALL[""]) else _HALVES
    names, labels, notes = [], [], []
    for half, file in lists.items():
        part = _read_names(find(places, file))
        names += part
        labels.append(_read_labels(places, half, len(part), notes))
    ((most, times),) = collections.Counter(names).most_common(1)
    if times > 1:
        raise DataError(f"{places[0]}: the image lists hold {most} {times} times")
    return names, np.concatenate(labels), notes


def _read_names(path: SourceFile) -> list[str]:
    """Paths of an image list, with forward slashes; they are written with either."""
    names = [line.strip().replace("\\", "/") for line in read_text(path).splitlines()]
    for number, name in enumerate(names, 1):
        pure = PurePosixPath(name)
        if not pure.parts or pure.is_absolute() or ".." in pure.parts or ":" in name:
            raise DataError(
                f"{path}, line {number}: expected a path below a folder, got {name!r}"
            )
    if not names:
        raise DataError(f"{path}: the file is empty")
    return names


def _read_labels(
    places: Sequence[SourceFile], half: str, count: int, notes: list[str]
) -> np.ndarray:
    """uint8 [count, 21] of one half's label files; adds lines on what was mended."""
    labels = np.zeros((count, len(CLASS_NAMES)), np.uint8)
    folder = find(places, f"Labels_{CLASS_NAMES[0]}{half}.txt").parent
    for column, name in enumerate(CLASS_NAMES):
        path = find([folder, *places], f"Labels_{name}{half}.txt")
        words = read_text(path).split()
        if len(words) != count:
            raise DataError(
                f"{path}: {len(words):,} rows, but the image list has {count:,} lines"
            )
        for line in [i for i, word in enumerate(words) if word not in ("0", "1")]:
            words[line] = _mended(path, line + 1, words[line], notes)
        labels[:, column] = [word == "1" for word in words]
    return labels


def _mended(path: SourceFile, line: int, word: str, notes: list[str]) -> str:
    """The 0 that the one damaged line of the official files stands for.

    Raises:
        DataError: any other line.
    """
    if (path.name, line, word) != ("Labels_lake_Train.txt", 78_372, "-1130179"):
        raise DataError(f"{path}, line {line}: expected 0 or 1, got {word[:20]!r}")
    notes.append(f"{path.name}, line {line:,} is {word}, a known damage; read as 0")
    return "0"


def _find_photos(
    places: Sequence[SourceFile], image_ids: Sequence[str]
) -> Callable[[int], SourceFile]:
    """Where each image is, by the layout in which one of the first is found."""
    for name, form in itertools.product(image_ids[:_TRIED], _FORMS):
        head = PurePosixPath(form(name)).parts[0]
        for place in places:
            found = search([place], head)
            if found is not None and below(found.parent, form(name)).is_file():
                return functools.partial(_photo, found.parent, form, image_ids)
    raise NothingHereError(
        f"{places[0]}: {image_ids[0]} is neither there, nor in the folders below, as "
        "listed, by its name or by its number"
    )


def _photo(folder: SourceFile, form: Callable, image_ids: Sequence[str], position: int):
    return below(folder, form(image_ids[position]))


_TRIED = 5
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: PurePosixPath(name).name,
    lambda name: f"{photo_number(name)}.jpg",
)
