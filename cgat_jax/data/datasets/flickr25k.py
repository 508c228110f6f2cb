"""FLICKR-25K: the 25,000 photos of MIRFLICKR-25k with its annotations v080.

The layout is the official one, in its archives or unpacked, in any folders: the photos
``im1.jpg`` to ``im25000.jpg``, and 38 text files with the numbers of the photos that a
label applies to, one a line. 24 labels are potential (``clouds.txt``: the subject can
be seen), 14 of them are also there as relevant (``clouds_r1.txt``: it stands out). All
photos are kept; about 2 % of them have no label.

References:
    Huiskes and Lew, The MIR Flickr Retrieval Evaluation, MIR 2008. The split of CgAT
    (WWW 2023): 1,000 queries, a database of the other 24,000, 5,000 of which train.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset
from cgat_jax.data.datasets.splits import draw_split, load_prepared
from cgat_jax.data.sources.source_file import SourceFile, find, read_text
from cgat_jax.data.sources.source_index import SourceIndex

NAME = "flickr25k"
_MOST_DIGITS = 9

# In the order of the columns of the released split files.
CLASS_NAMES = (
    *("clouds", "sky", "lake", "tree", "indoor", "female_r1", "portrait", "dog"),
    *("river_r1", "flower_r1", "animals", "car", "sea", "night", "transport"),
    *("sunset", "people", "bird_r1", "flower", "clouds_r1", "food", "baby_r1"),
    *("sea_r1", "night_r1", "structures", "dog_r1", "car_r1", "water", "baby"),
    *("male_r1", "plant_life", "portrait_r1", "tree_r1", "bird", "people_r1"),
    *("male", "river", "female"),
)


def scan_flickr25k(places: Sequence[SourceFile]) -> SourceIndex:
    """Reads the annotations; images are in the order of their numbers.

    Raises:
        DataError: a missing label file, no photo, or a line that is not the number
            of one of the photos.
    """
    photos = find(places, "im1.jpg").parent
    count = _count(photos)
    labels = np.zeros((count, len(CLASS_NAMES)), np.uint8)
    for column, path in enumerate(_label_files(places)):
        labels[_read_numbers(path, count) - 1, column] = 1
    bare = int((~labels.any(axis=1)).sum())
    names = tuple(f"im{number}.jpg" for number in range(1, count + 1))
    return SourceIndex(
        name=NAME,
        class_names=CLASS_NAMES,
        image_ids=names,
        labels=labels,
        parts={},
        notes=(f"{bare:,} of {count:,} images have no label, kept",) if bare else (),
        locate=lambda position: photos / names[position],
    )


def load_flickr25k(settings: Data, root: Path) -> Dataset:
    """The prepared data set with the split that the settings ask for.

    Raises:
        DataError: as ``load_prepared``.
    """
    return load_prepared(NAME, settings, root, draw_split)


def _count(photos: SourceFile) -> int:
    """The largest number of a photo that is there."""
    found = (re.fullmatch(r"im([1-9]\d*)\.jpg", path.name) for path in photos.iterdir())
    return max(int(match[1]) for match in found if match)


def _label_files(places: Sequence[SourceFile]) -> list[SourceFile]:
    """The 38 files, together or spread over folders."""
    folder = find(places, f"{CLASS_NAMES[0]}.txt").parent
    names = [f"{name}.txt" for name in CLASS_NAMES]
    return [find([folder, *places], name) for name in names]


def _read_numbers(path: SourceFile, count: int) -> np.ndarray:
    """Numbers of photos in 1 to ``count``, int64."""
    words = read_text(path).split()
    for line, word in enumerate(words, 1):
        plain = word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS
        if not (plain and 1 <= int(word) <= count):
            raise DataError(
                f"{path}, entry {line}: expected the number of a photo, 1 to "
                f"{count:,}, got {word[:20]!r}"
            )
    return np.array(words, np.int64)
