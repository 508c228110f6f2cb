"""The catalogue: whose codes an index holds, in one SQLite file or in memory.

It is what an index is; engines are made of it. A change is on disk when the call that
made it returns. Each item carries a digest of its row, which is checked when codes are
read.
"""

import contextlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.search.names import Names, unknown_label
from cgat_jax.search.rows import SCHEMA, Id, Item, Query, names_of, row_digest

_AT_ONCE = 500  # parameters of a statement
_MAPPED = 2**28  # bytes of the file that are read through memory


class Catalogue:
    """Items by number; numbers grow and are never used again."""

    def __init__(self, path: Path | None = None):
        """Opens a file, which is made if there is none; in memory without a path.

        Raises:
            DamagedFileError: it is no such file.
            OSError: it cannot be opened.
        """
        self.path, self._lock = path, threading.RLock()
        self._names: Names | None = None  # of all items, once they are read
        self._counts: dict[str, int] | None = None  # of items by label, likewise
        with self._named_errors():
            self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA mmap_size = {_MAPPED}")
            self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def __len__(self) -> int:
        return self.count("")

    def add(self, items: Sequence[Item]) -> np.ndarray:
        """Adds items, all or none; their numbers, int64.

        Raises:
            InputError: an id is there already, or twice.
            OSError: they cannot be written.
        """
        with self._changing():
            self._count([item.labels for item in items], 1)
            numbers = [self._insert(item) for item in items]
        if self._names is not None:
            ids, labels = [x.id for x in items], [x.labels for x in items]
            self._names.add(np.array(numbers, np.int64), ids, labels)
        return np.array(numbers, np.int64)

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes items, all or none."""
        rows = [(int(number),) for number in numbers]
        with self._changing():
            known = self.ids(number for (number,) in rows)
            self._count([labels for _, labels in known.values()], -1)
            self._db.executemany("DELETE FROM items WHERE number = ?", rows)
            self._db.executemany("DELETE FROM pictures WHERE number = ?", rows)
        if self._names is not None:
            self._names.remove(np.array(list(known), np.int64))

    def numbers_of(self, ids: Iterable[Id]) -> list[int]:
        """The numbers of items.

        Raises:
            InputError: names an id that is not there.
        """
        ids = list(ids)
        known = dict(self._among("SELECT id, number FROM items WHERE id IN", ids))
        for id_ in set(ids) - set(known):
            raise InputError(f"id {id_!r}: is not in the index")
        return list(known.values())

    def origins(self) -> dict[Id, str]:
        """Every id with where it comes from; empty for what was added by hand."""
        return dict(self._rows("SELECT id, origin FROM items"))

    def ids(self, numbers: Iterable[int]) -> dict[int, tuple[Id, tuple[str, ...]]]:
        """Ids and labels of the items among these."""
        statement = "SELECT number, id, labels FROM items WHERE number IN"
        found = self._among(statement, map(int, numbers))
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
        found = self._rows("SELECT content FROM pictures WHERE number = ?", number)
        return found[0][0] if found else None

    def codes(self, block: int = 100_000) -> Iterator[tuple[np.ndarray, ...]]:
        """Numbers, packed codes and labels of all items, in order, in blocks.

        Raises:
            DamagedFileError: an item is not as it was written.
        """
        last, known, count, names = 0, self.label_numbers(), 0, Names()
        statement = "SELECT * FROM items WHERE number > ? ORDER BY number LIMIT ?"
        while rows := self._rows(statement, last, block):
            for number, id_, code, labels, origin, digest in rows:
                if digest != row_digest(number, id_, code, labels, origin):
                    raise DamagedFileError(f"{self.path}: damaged at item {id_!r}")
            codes = np.frombuffer(b"".join(row[2] for row in rows), np.uint8)
            labels = [[known.get(name) for name in names_of(row[3])] for row in rows]
            if any(None in own for own in labels):
                raise DamagedFileError(f"{self.path}: damaged, a label is missing")
            last, count = rows[-1][0], count + len(rows)
            numbers = np.array([row[0] for row in rows], np.int64)
            own = [names_of(row[3]) for row in rows]
            names.add(numbers, [row[1] for row in rows], own)
            yield numbers, codes.reshape(len(rows), -1), labels
        if count != len(self):
            raise DamagedFileError(f"{self.path}: damaged, items are missing")
        self._names = names if self._names is None else self._names

    def label_numbers(self) -> dict[str, int]:
        """The number of every label by its name."""
        statement = "SELECT name, number FROM labels WHERE number > 0 ORDER BY number"
        return dict(self._rows(statement))

    def label_number(self, label: str) -> int:
        """The number of a label.

        Raises:
            InputError: no image has it, and had it ever.
        """
        if found := self._rows("SELECT number FROM labels WHERE name = ?", label):
            return found[0][0]
        raise InputError(unknown_label(label, self.label_numbers()))

    def count(self, label: str) -> int:
        """How many items have a label; all that there are for an empty one."""
        if self._counts is None:
            self._counts = dict(self._rows("SELECT name, items FROM labels"))
        return self._counts.get(label, 0)

    def set_queries(self, queries: Iterable[Query]) -> None:
        """Puts queries that come with the index in the place of those before."""
        with self._changing():
            self._db.execute("DELETE FROM queries")
            self._db.executemany(
                "INSERT INTO queries (id, labels, image, clean) VALUES (?, ?, ?, ?)",
                [(q.id, json.dumps(q.labels), q.image, q.clean) for q in queries],
            )

    def query_list(self) -> list[tuple[int, Id, tuple[str, ...]]]:
        """Number, id and labels of each query that is to be shown."""
        statement = "SELECT number, id, labels FROM queries WHERE NOT clean"
        found = self._rows(f"{statement} ORDER BY number")
        return [(number, id_, names_of(text)) for number, id_, text in found]

    def clean_queries(self) -> list[bytes]:
        """The images of the queries to calibrate an alarm on."""
        statement = "SELECT image FROM queries WHERE clean ORDER BY number"
        return [image for (image,) in self._rows(statement)]

    def query(self, number: int) -> Query | None:
        """A query that is to be shown, if there is one of that number."""
        statement = "SELECT id, labels, image FROM queries WHERE number = ?"
        found = self._rows(f"{statement} AND NOT clean", number)
        return Query(found[0][0], names_of(found[0][1]), found[0][2]) if found else None

    def copy_to(self, other: "Catalogue") -> None:
        """Copies all of it into an empty one, whole or not at all."""
        with self._lock, other._named_errors():
            self._db.backup(other._db)

    def _count(self, labels: Iterable[Iterable[str]], sign: int) -> None:
        """Notes how many items a label has, and how many there are."""
        counts = Counter(name for own in labels for name in {"", *own})
        self._db.executemany(
            "INSERT INTO labels (name, items) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET items = items + excluded.items",
            [(name, sign * count) for name, count in counts.items()],
        )

    def _insert(self, item: Item) -> int:
        labels = json.dumps(item.labels)
        try:
            row = self._db.execute(
                "INSERT INTO items (id, code, labels, origin, digest) "
                "VALUES (?, ?, ?, ?, '')",
                (item.id, item.code, labels, item.origin),
            )
        except sqlite3.IntegrityError as error:
            raise InputError(f"id {item.id!r}: is in the index already") from error
        number = row.lastrowid
        digest = row_digest(number, item.id, item.code, labels, item.origin)
        self._db.execute(
            "UPDATE items SET digest = ? WHERE number = ?", (digest, number)
        )
        if item.picture:
            self._db.execute(
                "INSERT INTO pictures VALUES (?, ?)", (number, item.picture)
            )
        return number

    def _rows(self, statement: str, *values) -> list[tuple]:
        with self._lock, self._named_errors():
            return self._db.execute(statement, values).fetchall()

    def _among(self, statement: str, values: Iterable) -> Iterator[tuple]:
        values = list(values)
        for start in range(0, len(values), _AT_ONCE):
            some = values[start : start + _AT_ONCE]
            yield from self._rows(f"{statement} ({','.join('?' * len(some))})", *some)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """One change: whole, and on disk at the end, or undone."""
        with self._lock, self._named_errors(), self._db:
            self._counts = None
            yield

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = f"{self.path or 'the index in memory'}: {error}"
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(text) from error  # a full disk, no permission, a lock
            raise DamagedFileError(f"{text}; build the index again") from error
