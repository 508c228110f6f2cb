"""Runs many programs, some of which need others to have finished.

A launcher starts one program and tells when it has ended. The one here starts processes
on this machine; one for a cluster would do no more.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from cgat_jax.workdir import is_trained


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

    def wait(self) -> int:
        """Waits for its end; its exit code."""


LOG = "log.txt"
Launcher = Callable[[Job, Path], Handle]


def start_process(job: Job, log: Path) -> Handle:
    """Starts a job on this machine; its output goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            job.arguments,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is ours: it becomes a SIGTERM for them
        )


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
) -> dict[str, str]:
    """Runs jobs, up to ``limit`` at a time, in order as far as what they need allows.

    A job that fails does not stop the others; those that need it are not started,
    unless what it left suffices.
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

    Returns:
        For each job that did not end well, by name, why.
    """
    waiting, failed = list(jobs), {}
    running: dict[str, tuple[Job, Handle]] = {}
    try:
        while waiting or running:
            waiting = _start_ready(
                waiting, running, failed, log_of, limit, launcher, suffices, on_start
            )
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
        for _, handle in running.values():
            handle.terminate()
        for _, handle in running.values():
            handle.wait()
    return failed


def run_missing(
    missing: list[Job],
    root: Path,
    limit: int,
    after_each: Callable[[], object] = lambda: None,
) -> dict[str, str]:
    """Runs ``experiments.main`` and says so; a SIGTERM stops all, with exit code 143.

    A run that fails after its training, in an attack, does not keep others from
    defending its network.

    Returns:
        As ``run_jobs``; logs are ``root / job / log.txt``.
    """
    signal.signal(signal.SIGTERM, _end)
    numbers = {job.name: n for n, job in enumerate(missing, start=1)}

    def started(job):
        print(f"cell {numbers[job.name]} of {len(missing)}: {job.name}", flush=True)

    def ended(job, code):
        print(f"{'failed' if code else 'done'}: {job.name}", flush=True)
        after_each()

    return run_jobs(
        missing,
        lambda job: root / job.name / LOG,
        limit=limit,
        suffices=lambda name: is_trained(root / name),
        on_start=started,
        on_end=ended,
    )


def _end(number, frame):
    raise SystemExit(128 + number)


def _start_ready(waiting, running, failed, log_of, limit, launcher, suffices, on_start):
    """Starts what can start; returns what must wait on."""
    unfinished = {job.name for job in waiting} | set(running)
    still = []
    for job in waiting:
        if job.needs in failed and not suffices(job.needs):
            failed[job.name] = f"needs {job.needs}, which failed"
        elif job.needs in unfinished or len(running) >= limit:
            still.append(job)
        else:
            on_start(job)
            running[job.name] = job, launcher(job, log_of(job))
    return still


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
