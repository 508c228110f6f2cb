"""Images with labels by name, however a source says them, as a source's index."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from cgat_jax.data.dataset import DataError
from cgat_jax.data.sources.source_file import (
    SourceFile,
    below,
    counted,
    read_text,
    some,
)
from cgat_jax.data.sources.source_index import SourceIndex

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "query"), "query"),
    "database": "database",
}
"""What the words for a split mean; ``val`` are the queries where there is no test."""
CLASSES = "classes.txt"
_KNOWN = "known: train, val, test (or query) and database"


class Labeled(NamedTuple):
    """The images of a source: relative names, labels of each, splits ("": drawn).

    ``classes`` is the name of the file with the classes, which need not be there.
    """

    names: Sequence[str]
    labels: Sequence[tuple[str, ...]]
    splits: Sequence[str]
    layout: str
    notes: tuple[str, ...] = ()
    classes: str = CLASSES


def label_of(text: str) -> str:
    """A label without spaces around it, its accents in one form whoever typed them."""
    return unicodedata.normalize("NFC", text.strip())


def split_of(word: str) -> str | None:
    """What a word for a split means, with a year or without; None: it is unknown."""
    return SPLITS.get(word.strip().lower().rstrip("0123456789"))


def unknown_splits(words: Iterable[str]) -> str:
    """The clause on words that are no splits."""
    return f"unknown split names {some(sorted(map(repr, set(words))))}; {_KNOWN}"


def index_of(place: SourceFile, found: Labeled, name: str) -> SourceIndex:
    """The index of labeled images; those without a label are left out.

    Classes are in the order of ``classes.txt``, or else of their names.

    Raises:
        DataError: fewer than two classes, a split without queries or others, names
            that cannot be used, or labels that ``classes.txt`` lacks.
    """
    kinds = {label for labels in found.labels for label in labels}
    if odd := [text for text in [*sorted(kinds), *found.names] if _is_odd(text)]:
        listed = some([ascii(text) for text in odd])
        raise DataError(
            f"{place}: names with control characters, or no UTF-8: {listed}"
        )
    if len(kinds) < 2:
        few = f"one class alone, {some(sorted(kinds))}" if kinds else "no labels"
        raise DataError(
            f"{place}: {few} ({found.layout}), so that there is nothing to tell apart; "
            "expected at least two classes"
        )
    titles, notes = _classes(below(place, found.classes), kinds)
    columns = {label: column for column, label in enumerate(titles)}
    keep = [row for row, labels in enumerate(found.labels) if labels]
    labels = np.zeros((len(keep), len(columns)), np.uint8)
    for row, position in enumerate(keep):
        labels[row, [columns[label] for label in found.labels[position]]] = 1
    pairs = zip(found.names, found.labels, strict=True)
    if bare := [image for image, labels in pairs if not labels]:
        text = f"{counted(len(bare), 'image')} without a label, left out: {some(bare)}"
        notes.append(text)
    names = tuple(found.names[row] for row in keep)
    return SourceIndex(
        name=name,
        class_names=tuple(titles.values()),
        image_ids=names,
        labels=labels,
        parts=_parts(place, [found.splits[row] for row in keep]),
        notes=(*found.notes, *notes),
        layout=found.layout,
        locate=lambda position: below(place, names[position]),
    )


def _is_odd(text: str) -> bool:
    """Whether a name has control characters or line ends, or is no UTF-8."""
    return not text.isprintable() and any(
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text
    )


def _parts(place: SourceFile, splits: Sequence[str]) -> dict[str, np.ndarray]:
    """Positions by part, or nothing where the split is to be drawn.

    Without test images, those of ``val`` are the queries. The database are all others;
    without training images it trains as well.

    Raises:
        DataError: there are no queries, or nothing else.
    """
    if not any(splits):
        return {}
    there = np.array(splits)
    query = there == ("query" if "query" in splits else "val")
    if query.all() or not query.any():
        lacking = "others than queries" if query.any() else "queries (test or val)"
        raise DataError(
            f"{place}: the split names {some(sorted(set(splits)))} alone, and no "
            f"{lacking}; add them, or give a source that names no split, to have it "
            "drawn"
        )
    database = np.flatnonzero(~query)
    train = np.flatnonzero(there == "train")
    return {
        "train": train if len(train) else database,
        "query": np.flatnonzero(query),
        "database": database,
    }


def _classes(path: SourceFile, kinds: set[str]) -> tuple[dict[str, str], list[str]]:
    """{label: class name} in the order of the columns, and notes.

    A line of the file is a label, or a label and a name for it, as
    ``n01440764 tench``.

    Raises:
        DataError: the file lacks a label, or names a class twice.
    """
    if not path.is_file():
        return {label: label for label in sorted(kinds)}, []
    titles, unused = {}, []
    for line in filter(None, map(label_of, read_text(path).splitlines())):
        first, *rest = line.split(maxsplit=1)
        label, title = (line, line) if line in kinds or not rest else (first, rest[0])
        if label in titles or title in titles.values():
            raise DataError(f"{path}: names a class twice: {line!r}")
        if label in kinds:
            titles[label] = title
        else:
            unused.append(line)
    if lacking := sorted(kinds - titles.keys()):
        raise DataError(f"{path}: lacks {some([repr(kind) for kind in lacking])}")
    none = f"{counted(len(unused), 'class', 'classes')} of classes.txt without an image"
    return titles, [f"{none}: {some(unused)}"] if unused else []
