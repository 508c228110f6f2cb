"""The tables of a catalogue, and what a row of them holds."""

import functools
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from cgat_jax.errors import InputError

Id = str | int
SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id NOT NULL UNIQUE, code BLOB NOT NULL,
    labels TEXT NOT NULL, origin TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (number INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS labels (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, items INTEGER NOT NULL);
INSERT OR IGNORE INTO labels VALUES (0, '', 0); -- that of every item
CREATE TABLE IF NOT EXISTS queries (
    number INTEGER PRIMARY KEY, id NOT NULL, labels TEXT NOT NULL, image BLOB NOT NULL,
    clean INTEGER NOT NULL);
"""


class Item(NamedTuple):
    """An image of an index.

    Attributes:
        id: what the user calls it: a path, or an id of a database.
        labels: names of its classes; empty where none are known.
        code: packed bits.
        picture: a small JPEG, or nothing.
        origin: says of a file which content was encoded; else empty.
    """

    id: Id
    labels: tuple[str, ...]
    code: bytes
    picture: bytes = b""
    origin: str = ""


class Query(NamedTuple):
    """A query that comes with an index.

    Attributes:
        id: of the image.
        labels: names of its classes.
        image: a PNG of what networks see.
        clean: not to be shown, but to calibrate an alarm on.
    """

    id: Id
    labels: tuple[str, ...]
    image: bytes
    clean: bool = False


@functools.lru_cache(maxsize=65_536)  # few sets of labels, and many items
def names_of(text: str) -> tuple[str, ...]:
    """Names of labels, as a row has them."""
    return tuple(json.loads(text))


def row_digest(*row) -> bytes:
    """Of all other columns of an item."""
    return hashlib.blake2b(repr(row).encode(), digest_size=8).digest()


def count_labels(
    db: sqlite3.Connection, labels: Iterable[Iterable[str]], sign: int
) -> None:
    """Notes how many items a label has, and how many there are."""
    counts = Counter(name for own in labels for name in {"", *own})
    db.executemany(
        "INSERT INTO labels (name, items) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET items = items + excluded.items",
        [(name, sign * count) for name, count in counts.items()],
    )


def insert(db: sqlite3.Connection, item: Item) -> int:
    """Adds an item; its number.

    Raises:
        InputError: its id is there already.
    """
    labels = json.dumps(item.labels)
    try:
        row = db.execute(
            "INSERT INTO items (id, code, labels, origin, digest) "
            "VALUES (?, ?, ?, ?, '')",
            (item.id, item.code, labels, item.origin),
        )
    except sqlite3.IntegrityError as error:
        raise InputError(f"id {item.id!r}: is in the index already") from error
    number = row.lastrowid
    digest = row_digest(number, item.id, item.code, labels, item.origin)
    db.execute("UPDATE items SET digest = ? WHERE number = ?", (digest, number))
    if item.picture:
        db.execute("INSERT INTO pictures VALUES (?, ?)", (number, item.picture))
    return number
