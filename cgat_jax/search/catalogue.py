"""The catalogue: whose codes an index holds, in one SQLite file or in memory.

It is what an index is; engines are made of it. A change is on disk when the call that
made it returns. Each item carries a digest of its row, which is checked when codes are
read.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.search.checked import checked_ids, checked_item, checked_text
from cgat_jax.search.database import Database
from cgat_jax.search.names import Names, unknown_label
from cgat_jax.search.rows import (
    SCHEMA,
    Id,
    Item,
    Query,
    count_labels,
    insert,
    names_of,
    row_digest,
)


class Catalogue:
    """Items by number; numbers grow and are never used again."""

    def __init__(self, path: Path | None = None, *, is_made: bool = False):
        """Opens a file; in memory without a path.

        Args:
            path: of the file.
            is_made: it must be there, and be a catalogue; else it is made if need be.

        Raises:
            DamagedFileError: it is no such file.
            OSError: it cannot be opened.
        """
        self.path = path
        self._names: Names | None = None  # of all items, once they are read
        self._counts: dict[str, int] | None = None  # of items by label, likewise
        self._db = Database(path, SCHEMA, is_made=is_made)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def __len__(self) -> int:
        return self.count("")

    def add(self, items: Sequence[Item]) -> np.ndarray:
        """Adds items, all or none; their numbers, int64.

        Raises:
            InputError: an id is there already, or twice; an id or a label cannot be
                kept.
            OSError: they cannot be written.
        """
        items = [checked_item(item) for item in items]
        with self._changing() as db:
            count_labels(db, [item.labels for item in items], 1)
            numbers = [insert(db, item) for item in items]
        if self._names is not None:
            ids, labels = [x.id for x in items], [x.labels for x in items]
            self._names.add(np.array(numbers, np.int64), ids, labels)
        return np.array(numbers, np.int64)

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes items, all or none."""
        rows = [(int(number),) for number in numbers]
        with self._changing() as db:
            known = self.ids(number for (number,) in rows)
            count_labels(db, [labels for _, labels in known.values()], -1)
            db.executemany("DELETE FROM items WHERE number = ?", rows)
            db.executemany("DELETE FROM pictures WHERE number = ?", rows)
        if self._names is not None:
            self._names.remove(np.array(list(known), np.int64))

    def numbers_of(self, ids: Iterable[Any]) -> list[int]:
        """The numbers of items.

        Raises:
            InputError: names an id that is not there, or can be none.
        """
        ids = checked_ids(ids)
        known = dict(self._db.among("SELECT id, number FROM items WHERE id IN", ids))
        for id_ in set(ids) - set(known):
            raise InputError(f"id {id_!r}: is not in the index")
        return list(known.values())

    def origins(self) -> dict[Id, str]:
        """Every id with where it comes from; empty for what was added by hand."""
        return dict(self._db.rows("SELECT id, origin FROM items"))

    def ids(self, numbers: Iterable[int]) -> dict[int, tuple[Id, tuple[str, ...]]]:
        """Ids and labels of the items among these."""
        statement = "SELECT number, id, labels FROM items WHERE number IN"
        found = self._db.among(statement, map(int, numbers))
        return {number: (id_, names_of(text)) for number, id_, text in found}

    def names(self, numbers: np.ndarray) -> tuple[list[list], list[list]]:
        """Ids, and labels, of items [q, k]; from memory, once codes have been read.

        Raises:
            KeyError: a number that no item has.
        """
        if self._names is not None:
            return self._names.of(numbers)
        known = self.ids(np.unique(numbers).tolist())
        rows = [[known[number] for number in row] for row in numbers.tolist()]
        return tuple([[name[i] for name in row] for row in rows] for i in (0, 1))

    def picture(self, number: int) -> bytes | None:
        """The small JPEG of an item, if it has one."""
        found = self._db.rows("SELECT content FROM pictures WHERE number = ?", number)
        return found[0][0] if found else None

    def codes(self, block: int = 100_000) -> Iterator[tuple[np.ndarray, ...]]:
        """Numbers, packed codes and labels of all items, in order, in blocks.

        They are of one moment, while other processes may write. The catalogue is held
        until the last block, or until the iterator is closed.

        Raises:
            DamagedFileError: an item is not as it was written.
        """
        with self._db.reading():
            known, counts = self.label_numbers(), self._read_counts()
            last, names = 0, Names()
            statement = "SELECT * FROM items WHERE number > ? ORDER BY number LIMIT ?"
            left = counts.get("", 0)
            while rows := self._db.rows(statement, last, block):
                numbers, codes, own = self._checked(rows)
                labels = [[known.get(name) for name in each] for each in own]
                if any(None in each for each in labels):
                    raise DamagedFileError(f"{self.path}: damaged, a label is missing")
                last, left = rows[-1][0], left - len(rows)
                names.add(numbers, [row[1] for row in rows], own)
                yield numbers, codes, labels
            if left:
                raise DamagedFileError(f"{self.path}: damaged, items are missing")
            if self._names is None:
                self._names, self._counts = names, counts

    def label_numbers(self) -> dict[str, int]:
        """The number of every label by its name."""
        statement = "SELECT name, number FROM labels WHERE number > 0 ORDER BY number"
        return dict(self._db.rows(statement))

    def label_number(self, label: str) -> int:
        """The number of a label.

        Raises:
            InputError: no image has it, and had it ever.
        """
        label, statement = checked_text(label, "label"), "SELECT number FROM labels"
        if found := self._db.rows(f"{statement} WHERE name = ?", label):
            return found[0][0]
        raise InputError(unknown_label(label, self.label_numbers()))

    def count(self, label: str) -> int:
        """How many items have a label; all that there are for an empty one."""
        if (counts := self._counts) is None:
            with self._db.lock:  # or a change in between would not be counted
                counts = self._counts = self._read_counts()
        return counts.get(label, 0)

    def set_queries(self, queries: Iterable[Query]) -> None:
        """Puts queries that come with the index in the place of those before."""
        # Made before, as nobody else can write during the change.
        rows = [(q.id, json.dumps(q.labels), q.image, q.clean) for q in queries]
        with self._changing() as db:
            db.execute("DELETE FROM queries")
            db.executemany(
                "INSERT INTO queries (id, labels, image, clean) VALUES (?, ?, ?, ?)",
                rows,
            )

    def query_list(self) -> list[tuple[int, Id, tuple[str, ...]]]:
        """Number, id and labels of each query that is to be shown."""
        statement = "SELECT number, id, labels FROM queries WHERE NOT clean"
        found = self._db.rows(f"{statement} ORDER BY number")
        return [(number, id_, names_of(text)) for number, id_, text in found]

    def clean_queries(self) -> list[bytes]:
        """The images of the queries to calibrate an alarm on."""
        statement = "SELECT image FROM queries WHERE clean ORDER BY number"
        return [image for (image,) in self._db.rows(statement)]

    def query(self, number: int) -> Query | None:
        """A query that is to be shown, if there is one of that number."""
        statement = "SELECT id, labels, image FROM queries WHERE number = ?"
        found = self._db.rows(f"{statement} AND NOT clean", number)
        return Query(found[0][0], names_of(found[0][1]), found[0][2]) if found else None

    def copy_to(self, other: "Catalogue") -> None:
        """Copies all of it into an empty one, whole or not at all."""
        self._db.copy_to(other._db)

    def _checked(self, rows: list[tuple]) -> tuple[np.ndarray, np.ndarray, list]:
        """Numbers, codes and names of labels of rows that are as they were written."""
        for number, id_, code, labels, origin, digest in rows:
            if digest != row_digest(number, id_, code, labels, origin):
                raise DamagedFileError(f"{self.path}: damaged at item {id_!r}")
        codes = np.frombuffer(b"".join(row[2] for row in rows), np.uint8)
        numbers = np.array([row[0] for row in rows], np.int64)
        return numbers, codes.reshape(len(rows), -1), [names_of(row[3]) for row in rows]

    def _read_counts(self) -> dict[str, int]:
        return dict(self._db.rows("SELECT name, items FROM labels"))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._db.changing() as db:
            self._counts = None
            yield db
