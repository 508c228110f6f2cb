"""Runs many programs, some of which need others to have finished.

A launcher starts one program and tells when it has ended. The one here starts processes
on this machine; one for a cluster would do no more.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from cgat_jax.config.loading import ROOT
from cgat_jax.files.ownership import claim_folder
from cgat_jax.training.interrupts import PARENT
from cgat_jax.workdir import is_run

LOG = "log.txt"
PATIENCE = 35.0
"""Seconds that programs which were asked to stop get: they save within 30."""


class Job(NamedTuple):
    """A command with a name; ``needs`` names another job, or nothing."""

    name: str
    arguments: list[str]
    needs: str


@runtime_checkable
class Handle(Protocol):
    """A started program."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def terminate(self) -> None:
        """Asks it to stop."""

    def kill(self) -> None:
        """Ends it at once."""


Launcher = Callable[[Job, Path], Handle]


def start_process(job: Job, log: Path) -> Handle:
    """Starts a job on this machine; its output goes to ``log``.

    The job is told who its parent is, and stops when that is gone, however it ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("ab") as file:
        return subprocess.Popen(
            job.arguments,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ
            | {PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # a Ctrl-C is ours: it becomes a SIGTERM for them
        )


def start_run(job: Job, log: Path) -> Handle:
    """As ``start_process``, in a workdir: the log's folder, which is made a run's.

    Raises:
        ForeignFilesError: the folder holds something else.
    """
    claim_folder(log.parent, "run", is_own=is_run)
    return start_process(job, log)


def run_jobs(
    jobs: Iterable[Job],
    log_of: Callable[[Job], Path],
    *,
    limit: int = 1,
    launcher: Launcher = start_process,
    suffices: Callable[[str], bool] = lambda name: False,
    on_start: Callable[[Job], None] = lambda job: None,
    on_end: Callable[[Job, int], None] = lambda job, code: None,
    pause: float = 0.2,
    patience: float = PATIENCE,
) -> dict[str, str]:
    """Runs jobs, up to ``limit`` at a time, in order as far as what they need allows.

    A job that fails, or cannot be started, does not stop the others; those that need it
    are not started, unless what it left suffices.
    A job that needs one which is not among ``jobs`` takes it as finished. When this
    function is interrupted, running jobs are asked to stop and waited for.

    Args:
        jobs: with different names.
        log_of: where a job's output goes.
        limit: how many run at the same time.
        launcher: starts a job.
        suffices: whether what a job that failed, by name, left is enough for those
            that need it.
        on_start: called before a job is started.
        on_end: called with its exit code.
        pause: seconds between two looks at what runs.
        patience: seconds that jobs get to stop before they are ended.

    Returns:
        For each job that did not end well, by name, why.
    """
    waiting, failed = list(jobs), {}
    running: dict[str, tuple[Job, Handle]] = {}

    def start(job: Job) -> Handle:
        on_start(job)
        return launcher(job, log_of(job))

    try:
        while waiting or running:
            waiting = _start_ready(waiting, running, failed, limit, suffices, start)
            time.sleep(pause)
            for name, (job, handle) in list(running.items()):
                code = handle.poll()
                if code is None:
                    continue
                del running[name]
                if code:
                    failed[name] = f"exit code {code}: {last_line(log_of(job))}"
                on_end(job, code)
    finally:
        _stop([handle for _, handle in running.values()], patience, pause)
    return failed


def _stop(handles: list[Handle], patience: float, pause: float) -> None:
    """Asks programs to stop, waits, and ends those that have not stopped by then."""
    for handle in handles:
        handle.terminate()
    deadline = time.monotonic() + patience
    while any(handle.poll() is None for handle in handles):
        if time.monotonic() > deadline:
            for handle in handles:
                handle.kill()
            return
        time.sleep(pause)


def _start_ready(waiting, running, failed, limit, suffices, start):
    """Starts what can start; returns what must wait on."""
    unfinished = {job.name for job in waiting} | set(running)
    still = []
    for job in waiting:
        if job.needs in failed and not suffices(job.needs):
            failed[job.name] = f"needs {job.needs}, which failed"
        elif job.needs in unfinished or len(running) >= limit:
            still.append(job)
        else:
            try:
                running[job.name] = job, start(job)
            except (ValueError, OSError) as error:
                failed[job.name] = f"not started: {error}"
    return still


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
