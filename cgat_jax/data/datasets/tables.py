"""Images with labels in a CSV or a JSON lines file.

A CSV has a header and the columns ``path``, ``labels`` (names with ``;`` or ``|``
between them) and perhaps ``split``; commas, semicolons or tabs separate the columns. A
line of JSON is ``{"path": ..., "labels": [...], "split": ...}``. Paths are relative to
the file's folder or to its ``images/``. Files that are named as splits are
(``train.csv``, ``test.csv``) are read together; a ``split`` in them must say the same.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets.labeled import Labeled, label_of, split_of, unknown_splits
from cgat_jax.data.sources.image_files import ImageFiles
from cgat_jax.data.sources.source_file import SourceFile, below, counted, some
from cgat_jax.data.sources.table import COLUMNS, CSV, JSON, Table, read_table

_NEAR = 0.8  # a column so alike one that is lacking is taken for a misspelling
_MANY = 3  # of so many classes one with a comma makes one doubt the commas


class _Row(NamedTuple):
    labels: tuple[str, ...]
    split: str


def find_tables(files: ImageFiles) -> list[str]:
    """Names of the files at the top that may be tables."""
    kinds = CSV + JSON
    return [n for n in files.others if "/" not in n and n.lower().endswith(kinds)]


def is_metadata(place: SourceFile, name: str) -> bool:
    """Whether a table is Hugging Face's: captions and the like, no labels.

    Its images may have folders for classes.

    Raises:
        DataError: it cannot be read.
    """
    if PurePosixPath(name).stem.lower() != "metadata":
        return False
    columns = read_table(place / name).columns
    return columns.get("path", "").lower() == "file_name" and "labels" not in columns


def lacking(place: SourceFile, name: str) -> str:
    """The clause on a table that lacks a column that is needed."""
    table = read_table(place / name)
    words = [key for key in ("path", "labels") if key not in table.columns]
    there = some([repr(column) for column in table.there]) or "none"
    return f"{place / name}: no column {' and no '.join(words)} (there: {there})"


def read_tables(
    place: SourceFile, names: Sequence[str], files: ImageFiles
) -> Labeled | None:
    """What the tables of a folder list; None: none of them has paths of images.

    Raises:
        DataError: several tables that are no splits, or everything that is wrong with
            their columns and lines.
    """
    tables = {name: read_table(place / name) for name in names}
    tables = {name: table for name, table in tables.items() if "path" in table.columns}
    if not tables:
        return None
    parts = _parts(place, list(tables))
    if bad := [name for name, table in tables.items() if "labels" not in table.columns]:
        raise DataError("; ".join(lacking(place, name) for name in bad))
    rows: dict[str, _Row] = {}
    notes, wrong = [*_unused(place, tables)], []
    for name, table in tables.items():
        repeated, odd = _add(rows, table, parts[name])
        if repeated:
            text = f"{name}: {counted(len(repeated), 'repeated line')}, counted once"
            notes.append(f"{text} (line {some(list(map(str, repeated)))})")
        if odd := sorted((table.wrong | odd).items()):
            lines = some([f"line {line}: {text}" for line, text in odd])
            wrong.append(f"{name}: {lines}")
    folder = _folder(place, list(rows))
    _refuse(place, folder, rows, wrong)
    notes += _joined(row.labels for row in rows.values())
    listed = {folder + path: row for path, row in rows.items()}
    if others := [name for name in files.images if name not in listed]:
        text = f"{counted(len(others), 'image')} not listed, left out: {some(others)}"
        notes.append(text)
    return Labeled(
        names=tuple(listed),
        labels=[row.labels for row in listed.values()],
        splits=[row.split for row in listed.values()],
        layout=f"{', '.join(tables)} ({_columns(tables)})",
        notes=tuple(notes),
    )


def _columns(tables: Mapping[str, Table]) -> str:
    names = [name for table in tables.values() for name in table.columns.values()]
    return ", ".join(dict.fromkeys(names))


def _unused(place: SourceFile, tables: Mapping[str, Table]) -> Iterator[str]:
    """Yields a note for each table on its columns that mean nothing here.

    Raises:
        DataError: one is a misspelling of the column that it lacks.
    """
    for name, table in tables.items():
        known = table.columns.values()
        others = [x for x in table.there if x.strip() and x not in known]
        for other in others if "split" not in table.columns else ():
            word = other.strip().lower()
            if near := difflib.get_close_matches(word, COLUMNS["split"], 1, _NEAR):
                raise DataError(
                    f"{place / name}: unknown column {other!r}; did you mean "
                    f"{near[0]!r}? Rename it, or leave it out"
                )
        if others:
            yield f"{name}: columns not used: {some(others)}"


def _joined(labels: Iterable[tuple[str, ...]]) -> list[str]:
    """A note where names of classes seem to be several, with commas between them."""
    kinds = {label for own in labels for label in own}
    joined = sorted(kind for kind in kinds if "," in kind)
    parts = {kind: {part.strip() for part in kind.split(",")} for kind in kinds}
    times = Counter(part for own in parts.values() for part in own)
    shared = [kind for kind in joined if any(times[part] > 1 for part in parts[kind])]
    if not joined or (not shared and len(joined) * _MANY < len(kinds)):
        return []
    first = (shared or joined)[0]
    return [
        f"{len(joined):,} of {counted(len(kinds), 'class', 'classes')} with a comma in "
        f"the name, as {first!r}, each taken as one class: ; or | separate labels"
    ]


def _refuse(
    place: SourceFile, folder: str, rows: Mapping[str, _Row], wrong: Sequence[str]
) -> None:
    """Raises all that is wrong as one error, and names the missing images with it."""
    bare = [path for path, row in rows.items() if not row.split]
    if 0 < len(bare) < len(rows):
        wrong = [*wrong, f"{counted(len(bare), 'image')} without split: {some(bare)}"]
    if not wrong:
        return
    gone = [path for path in rows if not below(place, folder + path).is_file()]
    if gone:
        wrong = [*wrong, f"{counted(len(gone), 'image')} missing: {some(gone)}"]
    raise DataError(f"{place}: {'; '.join(wrong)}")


def _parts(place: SourceFile, names: Sequence[str]) -> dict[str, str]:
    """The split that each of several tables is; nothing for a single one."""
    parts = {name: split_of(PurePosixPath(name).stem) or "" for name in names}
    if len(names) > 1 and not all(parts.values()):
        raise DataError(
            f"{place}: several tables of images ({some(names)}): leave one there, or "
            "name them as a split: train.csv, val.csv, test.csv"
        )
    return parts if len(names) > 1 else dict.fromkeys(names, "")


def _folder(place: SourceFile, paths: Sequence[str]) -> str:
    """Where the paths begin: with the table, or in ``images/``."""
    some_paths = paths[:20]
    if any(below(place, path).is_file() for path in some_paths):
        return ""
    inside = any(below(place, f"images/{path}").is_file() for path in some_paths)
    return "images/" if inside else ""


def _add(
    rows: dict[str, _Row], table: Table, part: str
) -> tuple[list[int], dict[int, str]]:
    """Adds the rows of a table; the lines that repeat one, and what is wrong."""
    repeated, wrong, unknown = [], {}, {}
    column = table.columns.get("split")
    for line, values in table.values.items():
        try:
            path = _path(values.get(table.columns["path"]))
            labels = _labels(values.get(table.columns["labels"]))
            word = _text((column and values.get(column)) or "")
            if part and word.strip() and split_of(word) != part:
                raise ValueError(f"split {word!r}, and the file's name says {part}")
        except ValueError as error:
            wrong[line] = str(error)
            continue
        split = split_of(word) if word.strip() else part
        if split is None:
            unknown.setdefault(word, line)
        row = _Row(labels, word if split is None else split)
        if path not in rows:
            rows[path] = row
        elif rows[path] == row:
            repeated.append(line)
        else:
            wrong[line] = (
                f"{path!r} again, with other labels or another split (all labels of an "
                "image belong on one line)"
            )
    if unknown:
        wrong[min(unknown.values())] = unknown_splits(unknown)
    return repeated, wrong


def _path(value: Any) -> str:
    text = _text(value).strip().replace("\\", "/")
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or text[1:2] == ":":
        raise ValueError(f"expected a path below the folder, got {value!r}")
    return str(path)


def _labels(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    given = value if isinstance(value, list) else re.split("[;|]", _text(value))
    labels = [label_of(_text(label)) for label in given]
    return tuple(dict.fromkeys(filter(None, labels)))


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"expected a text, got {json.dumps(value):.40}")
    return str(value)
