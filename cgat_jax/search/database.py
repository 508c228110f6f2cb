"""One SQLite database, in a file or in memory, that the threads of a process share."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from cgat_jax.errors import DamagedFileError, InputError

_AT_ONCE = 500  # parameters of a statement
_MAPPED = 2**28  # bytes of the file that are read through memory


class Database:
    """Tables that are changed whole or not at all, and read in one state of them.

    Attributes:
        path: its file, if it has one.
        lock: is held by whoever uses the database; a thread may take it again.
    """

    def __init__(self, path: Path | None, schema: str, *, is_made: bool):
        """Opens a file, in memory without a path.

        Args:
            path: of the file.
            schema: statements that make the tables that are missing.
            is_made: it has its tables; else there may be no file yet.

        Raises:
            DamagedFileError: it is no such file.
            OSError: it cannot be opened.
        """
        self.path, self.lock = path, threading.RLock()
        if is_made and not (path.is_file() and path.stat().st_size):
            raise self._without_tables()  # SQLite would make it anew
        with contextlib.ExitStack() as failing, self.named_errors():
            self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
            failing.callback(self._db.close)
            if is_made and not self.rows("SELECT 1 FROM sqlite_master LIMIT 1"):
                raise self._without_tables()
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA mmap_size = {_MAPPED}")
            self._db.executescript(schema)
            failing.pop_all()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def rows(self, statement: str, *values) -> list[tuple]:
        """All rows that a statement gives."""
        with self.lock, self.named_errors():
            return self._db.execute(statement, values).fetchall()

    def among(self, statement: str, values: Iterable) -> Iterator[tuple]:
        """The rows of a statement that ends in ``IN``, which takes the values."""
        values = list(values)
        for start in range(0, len(values), _AT_ONCE):
            some = values[start : start + _AT_ONCE]
            yield from self.rows(f"{statement} ({','.join('?' * len(some))})", *some)

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One change: whole, and on disk at the end, or undone."""
        with self.lock, self.named_errors(), self._db:
            yield self._db

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One state for all that is read within, whoever writes meanwhile."""
        with self.lock, self.named_errors():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.rollback()

    def copy_to(self, other: "Database") -> None:
        """Copies all of it into another one, whole or not at all."""
        with self.lock, other.named_errors():
            self._db.backup(other._db)

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Has what SQLite says name the file.

        Raises:
            DamagedFileError: the file is not as it was written.
            InputError: it was closed.
            OSError: it cannot be read or written.
        """
        try:
            yield
        except sqlite3.ProgrammingError as error:
            if "closed" not in str(error):
                raise
            raise InputError(f"{self.path or 'the index'}: was closed") from error
        except sqlite3.DatabaseError as error:
            text = f"{self.path or 'the index in memory'}: {error}"
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(text) from error  # a full disk, no permission, a lock
            raise DamagedFileError(f"{text}; build the index again") from error

    def _without_tables(self) -> DamagedFileError:
        return DamagedFileError(
            f"{self.path}: missing or empty, in the folder of an index; remove the "
            "folder and build the index again"
        )
