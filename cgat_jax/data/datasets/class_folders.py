"""Images in a folder a class, as ImageNet has them.

``cat/1.jpg`` or ``cat/2019/1.jpg`` is an image of the class ``cat``. Folders named
``train``, ``val``, ``test`` (or ``query``) and ``database`` may lie above the classes
and are the split. A single folder around all of it is passed through.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets.labeled import (
    CLASSES,
    Labeled,
    label_of,
    split_of,
    unknown_splits,
)
from cgat_jax.data.sources.image_files import ImageFiles
from cgat_jax.data.sources.source_file import SourceFile, counted, some


def read_folders(place: SourceFile, files: ImageFiles) -> Labeled | None:
    """Labels by the folders that images lie in; None: they lie in none.

    Raises:
        DataError: folders beside those of a split that are none, or images of a split
            in no class's folder.
    """
    paths = {name: PurePosixPath(name).parts for name in files.images}
    depth = _depth(list(paths.values()))
    inside = {name: parts[depth:] for name, parts in paths.items()}
    classed = {name: parts for name, parts in inside.items() if len(parts) > 1}
    if not classed:
        return None
    tops = sorted({parts[0] for parts in classed.values()})
    splits = _is_split(place, classed)
    level = 1 if splits else 0
    folders = {label_of(parts[level]) for parts in classed.values()}
    layout = f"a folder a class ({len(folders):,})"
    if splits:
        layout += f" below {', '.join(tops)}"
    if depth:
        layout += f" in {'/'.join(paths[next(iter(classed))][:depth])}"
    return Labeled(
        names=tuple(classed),
        labels=[(label_of(parts[level]),) for parts in classed.values()],
        splits=[split_of(parts[0]) if splits else "" for parts in classed.values()],
        layout=layout,
        notes=tuple(_left_out(files, [n for n in inside if n not in classed])),
        classes=_classes_file(files.others),
    )


def _depth(paths: Sequence[tuple[str, ...]]) -> int:
    """How many single folders lie around the folders of classes."""
    depth = 0
    while True:
        inner = [parts for parts in paths if len(parts) > depth + 1]
        single = len({parts[depth] for parts in inner}) == 1
        if not single or all(len(parts) == depth + 2 for parts in inner):
            return depth
        depth += 1


def _is_split(place: SourceFile, classed: dict[str, tuple[str, ...]]) -> bool:
    """Whether the upper folders are a split: by their names, or what lies in them.

    Raises:
        DataError: they are, and one is not known, or has images in no class's folder.
    """
    inner: dict[str, set[str]] = {parts[0]: set() for parts in classed.values()}
    for parts in classed.values():
        inner[parts[0]].update(parts[1:-1][:1])
    known = [top for top in inner if split_of(top)]
    unknown = [top for top in inner if not split_of(top)]
    alike = any(inner[top] & inner[other] for top in known for other in unknown)
    if not (alike or len(known) > 1):
        return False
    wrong = [unknown_splits(unknown)] if unknown else []
    if flat := [n for n, parts in classed.items() if len(parts) == 2]:
        wrong.append(
            f"{counted(len(flat), 'image')} of a split in no folder of a class: "
            f"{some(flat)}; expected train/cat/1.jpg (MS-COCO is the data set coco)"
        )
    if wrong:
        raise DataError(f"{place}: {'; '.join(wrong)}")
    return True


def _left_out(files: ImageFiles, loose: Sequence[str]) -> list[str]:
    """Notes on images in no class's folder, and on files that are no images."""
    notes = []
    if loose:
        text = f"{counted(len(loose), 'image')} in no folder of a class, left out"
        notes.append(f"{text}: {some(loose)}")
    others = [n for n in files.others if n != _classes_file(files.others)]
    if others:
        text = f"{counted(len(others), 'file')} of other kinds, left out"
        notes.append(f"{text}: {some(others)}")
    return notes


def _classes_file(names: Sequence[str]) -> str:
    """The ``classes.txt`` nearest to the top, wherever it lies."""
    found = [name for name in names if PurePosixPath(name).name == CLASSES]
    return min(found, key=lambda name: name.count("/"), default=CLASSES)
