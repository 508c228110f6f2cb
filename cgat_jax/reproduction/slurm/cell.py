"""A cell as submitit runs it on a node: the program, with the queue's signals."""

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cgat_jax.reproduction.launchers import (
    LOG,
    PATIENCE,
    Handle,
    Job,
    last_line,
    start_process,
    start_run,
)
from cgat_jax.reproduction.slurm.ledger import (
    Note,
    note_path,
    read_entries,
    write_note,
)
from cgat_jax.training.interrupts import start_deaf
from cgat_jax.workdir import is_trained

_log = logging.getLogger(__name__)
SIGNAL = signal.SIGUSR2
"""With which the queue says, a minute before, that the time is up."""
_STOPPED = {128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL}


class CellJob(NamedTuple):
    """A job of the queue: a cell's command, run in each of its processes.

    Before the time is up it has the program save and end, and asks the queue to begin
    it again, which resumes it. Of a preemption, or ``scancel``, the program hears
    itself, by the SIGTERM that all processes of a job get; what comes then is up to
    the queue.
    """

    job: Job
    root: Path
    tag: str
    index: int

    def __call__(self) -> None:
        """Runs the cell; raises with a line on why, if it did not end well.

        A job that is not the cell's latest leaves it alone.
        """
        entry = read_entries(self.root).get(self.job.name)
        if entry is None or (entry.tag, entry.index) != (self.tag, self.index):
            _log.warning("%s was submitted again since: not run", self.job.name)
            return
        rank = int(os.environ.get("SLURM_PROCID", 0))
        path = note_path(self.root, self.tag, self.index, rank)
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
        write_note(path, Note(None, "ended without a word", restarts))
        if self.job.needs and not is_trained(self.root / self.job.needs):
            why = f"needs {self.job.needs}, which failed"
            code = 1
        else:
            code, why = self._run(path, rank)
        write_note(path, Note(code, why, restarts))
        if code:
            raise RuntimeError(why)

    def checkpoint(self):
        """What the queue begins again: the same, as all is saved in the workdir."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self, path: Path, rank: int) -> tuple[int, str]:
        """Runs the program; its exit code and, if that is not 0, why."""
        log, start = self.root / self.job.name / LOG, start_run
        if rank:  # two hosts do not write to one file
            log, start = path.with_suffix(".log"), start_process
        os.environ.setdefault("JAX_CPU_COLLECTIVES_IMPLEMENTATION", "gloo")
        try:
            program, asked, begin_again = start_deaf(
                SIGNAL, lambda: start(self.job, log)
            )
        except (ValueError, OSError) as error:
            return 1, f"not started: {error}"
        if not (code := _wait(program, asked)):
            return 0, ""
        why = f"exit code {code}: {last_line(log)}"
        if asked and code in _STOPPED:
            why = f"{why}; the queue did not begin it again: {_try(begin_again)}"
        return code, why


def _wait(program: Handle, asked: list[int]) -> int:
    """Waits for a program's exit code; has it save if asked, for so long."""
    deadline = None
    while (code := program.poll()) is None:
        if asked and deadline is None:
            program.terminate()
            deadline = time.monotonic() + PATIENCE
        if deadline and time.monotonic() > deadline:
            program.kill()
        time.sleep(0.2)
    return code


def _try(begin_again: Callable) -> str:
    """Has submitit put the job back into the queue, which ends this process.

    Returns:
        Why it is still here. Processes but the first wait to be ended by the queue.
    """
    try:
        begin_again(SIGNAL, None)
    except Exception as error:  # submitit's or scontrol's
        return " ".join(str(error).split())
    time.sleep(PATIENCE)  # some clusters end a job with the first of its processes
    return "left to the job's first process"
