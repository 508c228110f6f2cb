"""Where the cells of a table run: here, or in a cluster's queue; and how they stand."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import flags

from cgat_jax.errors import InputError
from cgat_jax.reproduction.launchers import LOG, Job, last_line
from cgat_jax.reproduction.slurm import ledger, states, submission
from experiments import cells, cli

_LAUNCHER = flags.DEFINE_enum(
    "launcher",
    "local",
    ["local", "slurm"],
    "where cells run: here, or by SLURM's queue",
)
_JOBS = flags.DEFINE_integer(
    "jobs",
    None,
    "cells at a time; by default 1 here, and with slurm what the queue allows",
    lower_bound=1,
)
_STATUS = flags.DEFINE_bool("status", False, "print how each cell stands, run nothing")
_WAIT = flags.DEFINE_bool(
    "wait", True, "with slurm: wait for the cells; --nowait leaves them in the queue"
)
_PARTITION = flags.DEFINE_string("slurm_partition", "", "partition of the cells")
_TIME = flags.DEFINE_integer(
    "slurm_time",
    24 * 60,
    "minutes that a cell gets before it is saved and queued again",
    lower_bound=1,
)
_GPUS = flags.DEFINE_integer("slurm_gpus", 0, "GPUs of a cell on a node", lower_bound=0)
_CPUS = flags.DEFINE_integer("slurm_cpus", 0, "cores of a task", lower_bound=0)
_MEMORY = flags.DEFINE_float("slurm_mem", 0.0, "GB of memory on a node", lower_bound=0)
_NODES = flags.DEFINE_integer("slurm_nodes", 1, "nodes of a cell", lower_bound=1)
_TASKS = flags.DEFINE_integer(
    "slurm_tasks",
    1,
    "processes of a cell on a node; several in all are one --distributed run",
    lower_bound=1,
)
_OPTION = flags.DEFINE_multi_string(
    "slurm_option",
    [],
    "further option of sbatch, such as account=vision; again for more",
)
_LOOK_EVERY = 2.0  # seconds between two looks at what the jobs left
_OTHERWISE = (
    "ended without all that is asked for, as where it was queued with other settings; "
    "the same command queues it again"
)


def is_asked_for_status() -> bool:
    """Whether the command is to say how the cells stand, and no more."""
    return _STATUS.value


def check() -> None:
    """Finds that cells can be run where they are to run, before anything is written.

    Raises:
        InputError: says what is missing.
    """
    if _LAUNCHER.value == "slurm":
        submission.check_resources(_resources())
        return
    slurm = _PARTITION, _TIME, _GPUS, _CPUS, _MEMORY, _NODES, _TASKS, _OPTION, _WAIT
    if given := [f"--{flag.name}" for flag in slurm if flag.present]:
        raise InputError(
            f"{', '.join(given)}: without effect where cells run here; add "
            "--launcher=slurm"
        )


def check_modes(**modes: bool) -> None:
    """Finds that a command is asked for one thing.

    Args:
        **modes: its flags that run nothing, and whether they are given; ``--status`` is
            one in any case.

    Raises:
        InputError: for several.
    """
    found = [f"--{name}" for name, given in modes.items() if given]
    found += ["--status"] * _STATUS.value
    if len(found) > 1:
        raise InputError(f"{' and '.join(found)}: give one of them")


def run_missing(
    program: str,
    missing: list[Job],
    root: Path,
    after_each: Callable[[], object] = lambda: None,
    left: Callable[[], list[Job]] = lambda: [],
) -> dict[str, str]:
    """Runs cells here, or has the queue run those that are not in it already.

    A cell that lives in the queue is waited for whatever it was queued with.

    Args:
        program: its name.
        missing: those that have not measured all that is wanted.
        root: the folder of the cells.
        after_each: called after the end of each.
        left: those that, after all of it, still have not.

    Returns:
        As ``run_jobs``: why cells did not end well. Those that are left in the queue
        are not among them.
    """
    if _LAUNCHER.value == "local":
        _check_none_is_queued(missing, root)
        return cells.run_missing(program, missing, root, _JOBS.value or 1, after_each)
    with cli.stop().deferred():  # what is in the queue is written down
        failed = submission.submit(missing, root, _resources())
    found = _states(program, [job.name for job in missing], root)
    if found is not None:
        cli.tell(_summary(found))
    if not _WAIT.value:
        return failed
    try:
        options = {"pause": _LOOK_EVERY, "patience": 0.0}
        launcher = states.make_launcher(failed, root)
        failed = cells.run_missing(
            program,
            missing,
            root,
            len(missing) or 1,
            after_each,
            launcher=launcher,
            **options,
        )
    except BaseException:
        print(
            f"{program}: the cells go on in the queue; the same command comes back to "
            "them, --status shows them, scancel ends them",
            file=sys.stderr,
        )
        raise
    for name, state in (_states(program, failed, root) or {}).items():
        if state.state == states.FAILED:
            why = cells.with_folder(state.why, root / name)
            failed[name] = state._replace(why=why).line
    for job in left():
        failed.setdefault(job.name, _OTHERWISE)
    return failed


def _states(
    program: str, names: Iterable[str], root: Path
) -> dict[str, states.CellState] | None:
    """How cells stand; a line and None where the queue does not answer."""
    try:
        return states.states_of(names, root)
    except InputError as error:
        cli.refuse(program, error)
        return None


def _check_none_is_queued(missing: list[Job], root: Path) -> None:
    """Finds that no cell lives in a queue that is to be run here.

    Raises:
        InputError: one does, or that cannot be known here.
    """
    try:
        found = states.states_of([job.name for job in missing], root)
    except InputError as error:
        folder = root / ledger.FOLDER
        raise InputError(
            f"{error}; {folder} says that cells were put into a queue: if none lives "
            "there any more, move that folder away"
        ) from error
    for name, state in found.items():
        if state.state in (states.WAITING, states.RUNNING):
            raise InputError(
                f"{root / name} is {state.state} in the queue ({state.line}): come "
                "back with --launcher=slurm, or end it with scancel"
            )


def status(names: list[str], missing: list[Job], root: Path) -> str:
    """A line a cell, and how many there are of each.

    Args:
        names: of all cells.
        missing: those that have not measured all that is wanted.
        root: the folder of the cells; only read.
    """
    wanted = {job.name for job in missing}
    found = states.states_of(wanted, root)
    lines, counts = [], {}
    for name in names:
        state, why = "done", ""
        if name in wanted:
            state, why = _open(found.get(name), root / name / LOG)
        counts[state] = counts.get(state, 0) + 1
        lines.append(f"{state}: {name}" + (f" ({why})" if why else ""))
    total = ", ".join(f"{count} {state}" for state, count in counts.items())
    return "\n".join([*lines, f"{len(names)} cells: {total}"])


def _open(found: states.CellState | None, log: Path) -> tuple[str, str]:
    """How a cell stands that is not done."""
    if found and found.state != states.DONE:
        where = f"; log: {log}" if found.state == states.FAILED else ""
        return found.state, f"{found.line}{where}"
    if log.is_file():
        return "unfinished", f"last line: {last_line(log)}"
    return "not started", ""


def _summary(found: dict[str, states.CellState]) -> str:
    waiting = [s for s in found.values() if s.state == states.WAITING]
    running = [s for s in found.values() if s.state == states.RUNNING]
    jobs = sorted({state.job.partition("_")[0] for state in [*waiting, *running]})
    text = f"in the queue: {len(waiting)} cells waiting, {len(running)} running"
    return f"{text} (jobs {', '.join(jobs)})" if jobs else text


def _resources() -> submission.Resources:
    options = {}
    for text in _OPTION.value:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--slurm_option={text}: expected name=value")
        options[key.lstrip("-")] = value
    return submission.Resources(
        partition=_PARTITION.value,
        minutes=_TIME.value,
        gpus=_GPUS.value,
        cpus=_CPUS.value,
        memory=_MEMORY.value,
        nodes=_NODES.value,
        tasks=_TASKS.value,
        at_once=_JOBS.value or 0,
        options=options,
    )
