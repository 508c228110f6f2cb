"""The cells of a study or a reproduction: processes, in folders that are ours."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cgat_jax.files import locks, ownership
from cgat_jax.reproduction.launchers import LOG, PATIENCE, Job, run_jobs, start_run
from cgat_jax.reproduction.page import is_result
from cgat_jax.reproduction.paper_cells import CONFIGS
from cgat_jax.workdir import is_run, is_trained
from experiments import cli

STOP_PATIENCE = PATIENCE + 5.0
"""Seconds in which a program that runs cells ends: it waits for them."""
_UNREAD = contextlib.suppress(OSError)  # that nobody reads a line ends no cell


def check_root(root: Path) -> None:
    """Finds that a folder may hold the cells, without touching it.

    Raises:
        ForeignFilesError: it holds something else.
    """
    ownership.check_folder(root, "runs", is_own=is_root)


@contextlib.contextmanager
def claimed(root: Path) -> Iterator[None]:
    """Holds the folder of the cells, which is made ours, for this process.

    Raises:
        ForeignFilesError: it holds something else.
        InUseError: another process holds it; says which.
    """
    ownership.claim_folder(root, "runs", is_own=is_root)
    with locks.locked(root):
        yield


def run_missing(
    program: str,
    missing: list[Job],
    root: Path,
    limit: int,
    after_each: Callable[[], object] = lambda: None,
    **options: Any,
) -> dict[str, str]:
    """Runs cells and says which; logs are ``root / job / log.txt``.

    A run that fails after its training, in an attack, does not keep others from
    defending its network. ``options`` are those of ``run_jobs``, such as a launcher.

    Returns:
        As ``run_jobs``; a cell that asks for another workdir names its folder.
    """
    numbers = {job.name: n for n, job in enumerate(missing, start=1)}

    def started(job: Job) -> None:
        cli.tell(f"cell {numbers[job.name]} of {len(missing)}: {job.name}")

    def ended(job: Job, code: int) -> None:
        cli.tell(f"{'failed' if code else 'done'}: {job.name}")
        try:
            after_each()
        except (ValueError, OSError) as error:  # the cells that run go on
            with _UNREAD:
                cli.refuse(program, error)

    failed = run_jobs(
        missing,
        lambda job: root / job.name / LOG,
        limit=limit,
        suffices=lambda name: is_trained(root / name),
        on_start=started,
        on_end=ended,
        **({"launcher": start_run} | options),
    )
    return {name: with_folder(why, root / name) for name, why in failed.items()}


def with_folder(why: str, folder: Path) -> str:
    """What a cell refused, in words for those who choose the folder of all cells."""
    asks = why.startswith(f"exit code {cli.EXIT_REFUSED}: ") and "--workdir" in why
    return f"{why} (or move {folder} away)" if asks else why


def is_root(folder: Path) -> bool:
    """Whether a folder without a mark holds cells, or tables, of an earlier version."""
    entries = [path for path in folder.iterdir() if path.name != locks.LOCK]
    return all(map(_is_cell_or_table, entries)) if _with_cells(entries) else not entries


def _is_cell_or_table(path: Path) -> bool:
    if path.name in CONFIGS and path.is_dir():
        entries = list(path.iterdir())
        return _with_cells(entries) and all(map(_is_cell, entries))
    table = re.fullmatch(r"(table|figure)\d", path.name)
    return is_result(path) if table else _is_cell(path)


def _is_cell(path: Path) -> bool:
    """Whether a folder is a run, or holds what was compiled for the runs beside it."""
    if not path.is_dir():
        return False
    return path.name == "compiled" or ownership.kind_of(path) == "run" or is_run(path)


def _with_cells(entries: list[Path]) -> bool:
    """Whether there is more than a folder that anyone may call ``compiled``."""
    return any(path.name != "compiled" for path in entries)
