"""Which job of the queue is which cell, and what a job says of itself.

Both are sealed files in ``ROOT/cluster``, where submitit keeps its own: ``jobs.json``,
written before anything is submitted, and a note a process of a job.
"""

from pathlib import Path
from typing import NamedTuple

from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import read_sealed, write_sealed

FOLDER = "cluster"
_JOBS = "jobs.json"


class Entry(NamedTuple):
    """The latest job of a cell.

    ``tag`` is part of the job's name in the queue and ``index`` its place in the array,
    so that it is found even if its ``job`` id was never read.
    """

    tag: str
    index: int
    job: str


class Note(NamedTuple):
    """What a job left: an exit code, or None if it has begun and not said how it ended.

    ``restarts`` counts how often the queue has begun it again.
    """

    code: int | None
    why: str
    restarts: int


def read_entries(root: Path) -> dict[str, Entry]:
    """The jobs of a root's cells, by cell.

    Raises:
        DamagedFileError: they are not known any more.
    """
    path = root / FOLDER / _JOBS
    try:
        cells = read_sealed(path)["cells"] if path.is_file() else {}
        return {name: Entry(**entry) for name, entry in cells.items()}
    except (DamagedFileError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(
            f"{path}: damaged, so that which cells are in the queue is not known: look "
            "with squeue, end them with scancel, and move the file away"
        ) from error


def write_entries(root: Path, entries: dict[str, Entry]) -> None:
    """Keeps the jobs of a root's cells."""
    cells = {name: entry._asdict() for name, entry in entries.items()}
    write_sealed(root / FOLDER / _JOBS, {"cells": cells})


def note_path(root: Path, tag: str, index: int, rank: int) -> Path:
    """Where process ``rank`` of a job notes how it ended."""
    return root / FOLDER / f"{tag}-{index}.{rank}.json"


def write_note(path: Path, note: Note) -> None:
    """Leaves a note."""
    write_sealed(path, note._asdict())


def read_note(root: Path, entry: Entry) -> Note | None:
    """What a job left: of its processes, the first that failed; else the first."""
    pattern = f"{entry.tag}-{entry.index}.*.json"
    notes = []
    for path in sorted((root / FOLDER).glob(pattern)):
        try:
            notes.append(Note(**read_sealed(path)))
        except (DamagedFileError, TypeError, OSError):
            continue  # as if the job had left nothing
    return next((note for note in notes if note.code), notes[0] if notes else None)
