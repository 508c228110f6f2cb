"""Lines of a CSV or a JSON lines file, and which columns they have."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cgat_jax.data.sources.source_file import SourceFile, read_text

CSV, JSON = (".csv", ".tsv"), (".jsonl", ".ndjson")
COLUMNS = {
    "path": ("path", "file_name", "filename", "file", "image"),
    "labels": ("labels", "label", "classes", "class", "tags"),
    "split": ("split", "subset"),
}
"""What a column may be called, however it is capitalized; ours first."""


class Table(NamedTuple):
    """The lines of a table.

    ``columns`` are the names of path, labels and split in it, as far as they are there;
    ``values`` are by the number of the line, as are ``wrong``, clauses on the others.
    """

    there: Sequence[str]
    columns: dict[str, str]
    values: dict[int, dict[str, Any]]
    wrong: dict[int, str]


def read_table(path: SourceFile) -> Table:
    """The lines of a table, with what is wrong with some of them.

    Raises:
        DataError: it is no UTF-8 text.
    """
    text, wrong = read_text(path), {}
    if path.name.lower().endswith(JSON):
        values = dict(_json_lines(text, wrong))
        there = list(dict.fromkeys(name for row in values.values() for name in row))
    else:
        reader = _csv_reader(text)
        there = list(reader.fieldnames or ())
        values = dict(_csv_lines(reader, wrong))
    names = {name.strip().lower(): name for name in there}
    columns = {
        key: names[word]
        for key, words in COLUMNS.items()
        if (word := next((w for w in words if w in names), None))
    }
    return Table(there, columns, values, wrong)


def _csv_reader(text: str) -> csv.DictReader:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    return csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)


def _csv_lines(
    reader: csv.DictReader, wrong: dict[int, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            wrong[reader.line_num] = str(error)
            continue
        if None in row or None in row.values():
            count = len(reader.fieldnames or ())
            wrong[reader.line_num] = f"expected {count} columns"
        else:
            yield reader.line_num, row


def _json_lines(
    text: str, wrong: dict[int, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            wrong[number] = f"no JSON ({str(error)[:60]})"
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            wrong[number] = "expected an object in braces"
