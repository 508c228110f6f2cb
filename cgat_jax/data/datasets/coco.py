"""MS-COCO 2014: photos with the categories of their annotated objects.

The layout is the official one: ``train2014/``, ``val2014/`` and
``annotations/instances_{train,val}2014.json``. Both folders are pooled; images without
an annotation are left out, as HashNet and its successors do (122,218 of 123,287 stay).

References:
    Lin et al., Microsoft COCO, ECCV 2014. Cao et al., HashNet, ICCV 2017 (the pool of
    both folders: 5,000 queries, 10,000 training images out of the other images).
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError, Dataset
from cgat_jax.data.datasets.splits import draw_split, load_prepared
from cgat_jax.data.sources.source_file import SourceFile, below, find, read_text
from cgat_jax.data.sources.source_index import SourceIndex

NAME = "coco"
_FOLDERS = ("train2014", "val2014")


def scan_coco(places: Sequence[SourceFile]) -> SourceIndex:
    """Reads the annotations; classes and images are in alphabetical order.

    Crowd annotations count as objects.

    Args:
        places: folders and archives of the source, searched in this order.

    Raises:
        DataError: a missing folder or file, files that are not COCO's, or
            categories that differ between the two.
    """
    folders = {folder: find(places, folder) for folder in _FOLDERS}
    contents = [_read_annotations(places, folder) for folder in _FOLDERS]
    categories = [names for names, _ in contents]
    found = contents[0][1] | contents[1][1]
    if categories[0] != categories[1]:
        raise DataError(f"{places[0]}: train2014 and val2014 differ in categories")
    class_names = tuple(sorted(categories[0].values()))

    image_ids = tuple(sorted(name for name, kinds in found.items() if kinds))
    if not image_ids:
        raise DataError(f"{places[0]}: no image has an annotation")

    def locate(position: int) -> SourceFile:
        folder, name = image_ids[position].split("/")
        return below(folders[folder], name)

    dropped = len(found) - len(image_ids)
    return SourceIndex(
        name=NAME,
        class_names=class_names,
        image_ids=image_ids,
        labels=_multi_hot([found[name] for name in image_ids], class_names),
        parts={},
        locate=locate,
        notes=(f"{dropped:,} of {len(found):,} images have no annotation, left out",),
    )


def load_coco(settings: Data, root: Path) -> Dataset:
    """The prepared data set with the split that the settings ask for.

    A few photos are smaller than ``image_size``; they are enlarged when read, as the
    published preprocessing does.

    Raises:
        DataError: not prepared, damaged, prepared with other settings, or fewer images
            than the split needs.
    """
    return load_prepared(NAME, settings, root, draw_split)


def _read_annotations(
    places: Sequence[SourceFile], folder: str
) -> tuple[dict[int, str], dict[str, set[str]]]:
    """Names of the categories, and {path: names of the categories in the image}."""
    path = find(places, f"instances_{folder}.json")
    text = read_text(path)
    try:
        content = json.loads(text)
        names = {kind["id"]: kind["name"] for kind in content["categories"]}
        if not all(isinstance(name, str) for name in names.values()):
            raise ValueError("categories without a name")
        return names, _objects(content, names, folder)
    except RecursionError as error:
        raise DataError(f"{path}: not COCO annotations (nested too deep)") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not COCO annotations ({error!r})") from error


def _multi_hot(found: list[set[str]], class_names: tuple[str, ...]) -> np.ndarray:
    columns = {name: column for column, name in enumerate(class_names)}
    labels = np.zeros((len(found), len(class_names)), np.uint8)
    for row, names in enumerate(found):
        labels[row, [columns[name] for name in names]] = 1
    return labels


def _objects(content: Any, names: dict[int, str], folder: str) -> dict[str, set[str]]:
    """{path: names of the categories in it} of one annotation file."""
    for image in content["images"]:
        if image["file_name"] != PurePath(image["file_name"]).name:
            raise ValueError(f"expected a file name, got {image['file_name']!r}")
    paths = {
        image["id"]: f"{folder}/{image['file_name']}" for image in content["images"]
    }
    found: dict[str, set[str]] = {path: set() for path in paths.values()}
    for item in content["annotations"]:
        found[paths[item["image_id"]]].add(names[item["category_id"]])
    return found
