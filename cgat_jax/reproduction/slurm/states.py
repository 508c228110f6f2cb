"""How each cell stands: by the queue, by the accounts, and by what its job left."""

import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from cgat_jax.errors import InputError
from cgat_jax.reproduction.launchers import LOG, Job, last_line
from cgat_jax.reproduction.slurm.ledger import Entry, Note, read_entries, read_note
from cgat_jax.reproduction.slurm.queue import QueuedJob, ask_accounting, ask_queue

Queue = dict[tuple[str, int], QueuedJob]
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


class CellState(NamedTuple):
    """One of waiting, running, done and failed, which job it is, and why.

    ``code`` is the exit code of a job that has ended.
    """

    state: str
    job: str
    why: str
    code: int | None

    @property
    def line(self) -> str:
        """For a terminal."""
        return f"job {self.job or 'unknown'}" + (f": {self.why}" if self.why else "")


def states_of(names: Iterable[str], root: Path) -> dict[str, CellState]:
    """How the cells stand that have a job, by name.

    Raises:
        InputError: the queue does not answer, or the jobs are not known.
    """
    entries = read_entries(root)
    known = {name: entries[name] for name in names if name in entries}
    queue = ask_queue() if known else {}
    return {name: state_of(name, entry, root, queue) for name, entry in known.items()}


def state_of(name: str, entry: Entry, root: Path, queue: Queue) -> CellState:
    """How a cell stands whose latest job is ``entry``."""
    found, note = queue.get((entry.tag, entry.index)), read_note(root, entry)
    again = f"restarts: {note.restarts}" if note and note.restarts else ""
    if found and found.is_alive:
        state = RUNNING if found.runs else WAITING
        why = ", ".join(filter(None, [found.reason, again]))
        return CellState(state, found.job, why, None)
    job = found.job if found else entry.job
    code, why = _end(note, found.state if found else _accounted(job))
    if code == 0:
        return CellState(DONE, job, again, 0)
    if not note or note.code is None:
        why = f"{why}; last line: {last_line(root / name / LOG)}"
    return CellState(FAILED, job, why, code)


def _accounted(job: str) -> str:
    return ask_accounting([job]).get(job, "") if job else ""


def _end(note: Note | None, state: str) -> tuple[int, str]:
    """Exit code of a job that has left the queue, and why."""
    if state == "COMPLETED" or (note and note.code == 0):
        return 0, ""
    ended = f"ended by the queue ({state})" if state not in ("", "FAILED") else ""
    if note and note.code is not None:
        return note.code, "; ".join(filter(None, [note.why, ended]))
    forgotten = "" if state else ", and the queue has forgotten it"
    what = "killed: it left no exit code" if note else "it never began"
    return 1, ended or f"{what}{forgotten}"


class QueuedCell(NamedTuple):
    """A handle of a job in the queue, which is left there by those who stop waiting."""

    look: Callable[[], CellState | None]

    def poll(self) -> int | None:
        """Its exit code; None while it waits or runs, or while nothing is known."""
        state = self.look()
        return state.code if state else None

    def terminate(self) -> None:
        """Leaves it."""

    def kill(self) -> None:
        """Leaves it."""


def make_launcher(
    failed: dict[str, str], root: Path, *, every: float = 10.0
) -> Callable[[Job, Path], QueuedCell]:
    """A launcher of jobs that are in the queue already: it finds them there.

    Args:
        failed: why a job could not be submitted, by name.
        root: the folder of the cells.
        every: seconds between two questions to the queue, for all jobs together.
    """
    entries = read_entries(root)

    @functools.lru_cache(maxsize=1)
    def queue_at(moment: int) -> Queue | None:
        try:
            return ask_queue()
        except InputError:
            return None  # it is being restarted: asked again

    def launch(job: Job, log: Path) -> QueuedCell:
        if job.name in failed:
            raise InputError(failed[job.name])

        def look() -> CellState | None:
            queue = queue_at(int(time.monotonic() / every))
            if queue is None:
                return None
            return state_of(job.name, entries[job.name], root, queue)

        return QueuedCell(look)

    return launch
