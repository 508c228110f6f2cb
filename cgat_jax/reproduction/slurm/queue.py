"""What the cluster's queue knows of our jobs: squeue, and sacct where it is kept."""

import os
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from cgat_jax.errors import InputError

PREFIX = "cgat-"
"""Of the names of our jobs; a tag follows."""
_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}
_PATIENCE = 60.0  # seconds for an answer


class QueuedJob(NamedTuple):
    """A job as squeue lists it; ``reason`` is why it waits, or else where it runs."""

    job: str
    state: str
    reason: str

    @property
    def is_alive(self) -> bool:
        """Whether it waits, runs or will be begun again."""
        return self.state not in _ENDED

    @property
    def runs(self) -> bool:
        """Whether it has been begun and has not ended."""
        return self.state in _RUNNING


def ask_queue() -> dict[tuple[str, int], QueuedJob]:
    """This user's jobs of ours, by tag and index; ended ones for some minutes more.

    Raises:
        InputError: the queue does not answer; what lives is not known then.
    """
    form = "--format=%i|%j|%T|%N|%r"
    user = f"--user={os.getuid()}"
    text = _output(["squeue", "--noheader", "--array", "--states=all", user, form])
    found = {}
    for line in text.splitlines():
        job, name, state, nodes, reason = line.strip().split("|", 4)
        if name.startswith(PREFIX):
            index = int(job.partition("_")[2] or 0)
            why = reason if state == "PENDING" else nodes
            job = QueuedJob(job, state, "" if why == "None" else why)
            found[name.removeprefix(PREFIX), index] = job
    return found


def ask_accounting(jobs: Iterable[str]) -> dict[str, str]:
    """Final states by job id, such as TIMEOUT; nothing where none are kept."""
    command = ["sacct", "--noheader", "--parsable2", "--allocations"]
    try:
        text = _output([*command, "--format=JobID,State", f"--jobs={','.join(jobs)}"])
    except InputError:
        return {}
    pairs = [line.split("|")[:2] for line in text.splitlines() if "|" in line]
    return {job: state.split()[0] for job, state in pairs if state}


def depend(job: str, needed: str) -> None:
    """Has a job that waits wait for another one; one that has begun stays as it is."""
    update = ["scontrol", "update", f"JobId={job}", f"Dependency=afterany:{needed}"]
    try:
        _output(update)
    except InputError:
        return


def _output(command: list[str]) -> str:
    """What a command of SLURM prints.

    Raises:
        InputError: it is missing, fails or does not answer.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{command[0]} is not there: run this on a machine of a SLURM cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{command[0]}: no answer in {_PATIENCE:g} s") from error
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InputError(f"{command[0]} failed, so the queue is not known: {why}")
    return done.stdout
