"""Cells put into the queue by submitit: those that are not there, and those alone."""

import contextlib
import dataclasses
import os
import secrets
import shlex
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from cgat_jax.config.loading import ROOT
from cgat_jax.errors import InputError
from cgat_jax.files.ownership import claim_folder
from cgat_jax.reproduction.launchers import Job
from cgat_jax.reproduction.slurm.cell import CellJob
from cgat_jax.reproduction.slurm.ledger import (
    FOLDER,
    Entry,
    read_entries,
    write_entries,
)
from cgat_jax.reproduction.slurm.queue import PREFIX, ask_queue, depend
from cgat_jax.workdir import is_run

_NOTICE = 60  # seconds from the signal to the end of the time; saving takes 30
_OURS = {
    *("array", "chdir", "dependency", "error", "job-name", "no-requeue", "ntasks"),
    *("open-mode", "output", "parsable", "requeue", "signal", "test-only", "wait"),
}
_FLAGS = {
    "cpus-per-task": "slurm_cpus",
    "gpus-per-node": "slurm_gpus",
    "mem": "slurm_mem",
    "nodes": "slurm_nodes",
    "ntasks-per-node": "slurm_tasks",
    "partition": "slurm_partition",
    "time": "slurm_time",
}
"""Options of sbatch that have a flag of their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """What each cell gets of the cluster; what is empty is left to the queue.

    ``memory`` is in GB and, as ``gpus``, of a node, ``cpus`` of a task; ``options`` are
    further ones of sbatch. With several tasks a cell is one ``--distributed`` run.
    ``time_limits`` is how often a cell that ran out of its time goes on, and
    ``at_once`` how many of an array run at a time.
    """

    partition: str = ""
    minutes: int = 24 * 60
    gpus: int = 0
    cpus: int = 0
    memory: float = 0.0
    nodes: int = 1
    tasks: int = 1
    time_limits: int = 100
    at_once: int = 0
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)


def check_resources(resources: Resources) -> None:
    """Finds that cells can be put into the queue, before anything is written.

    Raises:
        InputError: says what is missing or wrong.
    """
    _executor(Path(FOLDER), resources)
    # Flags of these know less than sbatch: all memory of a node (0), a kind of GPU.
    given = {"mem": resources.memory, "gpus-per-node": resources.gpus}
    for name in sorted(key.replace("_", "-") for key in resources.options):
        if name in _FLAGS and given.get(name, True):
            raise InputError(f"sbatch's {name!r} has a flag here: --{_FLAGS[name]}")
        if name in _OURS:
            raise InputError(f"sbatch's {name!r} is set by the launcher itself")


def submit(jobs: Iterable[Job], root: Path, resources: Resources) -> dict[str, str]:
    """Puts the cells into the queue that are not there, an array for each needed one.

    Which jobs are meant is written down before they are submitted, and a job that finds
    itself not to be the one that is written runs nothing: no cell runs twice.

    Args:
        jobs: those that others need come first.
        root: the folder of the cells, claimed and held by this process.
        resources: what each gets.

    Returns:
        Why a cell was not submitted, by its name.

    Raises:
        InputError: the queue does not answer, or refuses; what is in it stays.
    """
    claim_folder(root / FOLDER, "queue")
    entries, queued, jobs = read_entries(root), ask_queue(), list(jobs)
    alive = {
        name: found
        for name, entry in entries.items()
        if (found := queued.get((entry.tag, entry.index))) and found.is_alive
    }
    ids = {name: found.job for name, found in alive.items()}
    groups, failed = _groups(jobs, alive.keys(), root)
    for needed, group in groups.items():
        tag = secrets.token_hex(6)
        new = {job.name: Entry(tag, n, "") for n, job in enumerate(group)}
        write_entries(root, entries := entries | new)
        own = [_as_cell(job, ids, root, entries[job.name], resources) for job in group]
        ids |= _put(own, ids.get(needed, ""), root, resources)
        new = {name: entry._replace(job=ids[name]) for name, entry in new.items()}
        write_entries(root, entries := entries | new)
    for job in jobs:
        found = alive.get(job.name)
        if found and not found.runs and job.needs in ids.keys() - alive.keys():
            depend(found.job, ids[job.needs])  # what it waited for has failed since
    return failed


def _groups(
    jobs: list[Job], alive: Collection[str], root: Path
) -> tuple[dict[str, list[Job]], dict[str, str]]:
    """Jobs that do not live, in folders made theirs; and why others cannot be.

    They are grouped by what they wait for, which is nothing if that is finished.
    """
    groups: dict[str, list[Job]] = {}
    failed: dict[str, str] = {}
    unfinished = {job.name for job in jobs} | set(alive)
    for job in jobs:
        if job.name in alive:
            continue
        if job.needs in failed:
            failed[job.name] = f"needs {job.needs}, which failed"
            continue
        try:
            claim_folder(root / job.name, "run", is_own=is_run)
        except (ValueError, OSError) as error:
            failed[job.name] = f"not submitted: {error}"
        else:
            needed = job.needs if job.needs in unfinished else ""
            groups.setdefault(needed, []).append(job)
    return groups, failed


def _as_cell(job, ids, root: Path, entry: Entry, resources: Resources) -> CellJob:
    """The cell as it is pickled: what it needs only if that is not finished yet."""
    several = ["--distributed"] if resources.nodes * resources.tasks > 1 else []
    needs = job.needs if job.needs in ids else ""
    job = Job(job.name, [*job.arguments, *several], needs)
    return CellJob(job, root.absolute(), entry.tag, entry.index)


def _put(
    cells: list[CellJob], needed: str, root: Path, resources: Resources
) -> dict[str, str]:
    """Submits cells as an array that waits for a job; their ids by name."""
    executor = _executor(root / FOLDER, resources)
    executor.update_parameters(
        name=f"{PREFIX}{cells[0].tag}",
        slurm_dependency=f"afterany:{needed}" if needed else None,
    )
    try:
        with _no_job_around(), executor.batch():
            jobs = [executor.submit(cell) for cell in cells]
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise InputError(f"sbatch refused {len(cells)} cells: {why}") from error
    return {cell.job.name: job.job_id for cell, job in zip(cells, jobs, strict=True)}


def _executor(folder: Path, resources: Resources):
    """The executor of submitit, with what all cells get.

    Raises:
        InputError: submitit or SLURM is not there.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            "--launcher=slurm needs submitit: pip install submitit, or this package "
            "with its extra [slurm]"
        ) from error
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise InputError(
            "--launcher=slurm: sbatch and srun are not there; run this on a machine of "
            "a SLURM cluster, or with --launcher=local"
        )
    executor = submitit.AutoExecutor(
        folder, cluster="slurm", slurm_max_num_timeout=resources.time_limits
    )
    cpus = [f"--cpus-per-task={resources.cpus}"] if resources.cpus else None
    executor.update_parameters(
        timeout_min=resources.minutes,
        nodes=resources.nodes,
        tasks_per_node=resources.tasks,
        gpus_per_node=resources.gpus or None,
        cpus_per_task=resources.cpus or None,
        mem_gb=resources.memory or None,
        stderr_to_stdout=True,
        slurm_partition=resources.partition or None,
        slurm_srun_args=cpus,  # srun does not take it from sbatch since SLURM 22.05
        slurm_signal_delay_s=_NOTICE,
        slurm_array_parallelism=resources.at_once or None,
        slurm_setup=[f"export PYTHONPATH={shlex.quote(_search_path())}"],
        slurm_additional_parameters={"requeue": True, **resources.options},
    )
    return executor


def _search_path() -> str:
    """Where a node finds this package."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@contextlib.contextmanager
def _no_job_around() -> Iterator[None]:
    """Hides the job that this process may itself be; which cluster it is, stays."""
    from submitit.helpers import clean_env

    kept = {k: v for k, v in os.environ.items() if k == "SLURM_CONF"}
    with clean_env():
        os.environ.update(kept)
        yield
