r"""Runs tables of results, a run for each cell, and writes them from the records.

    python -m experiments.study --study=experiments/studies/quickstart.py \
        --workdir=runs/study --out=runs/study/results.md

A study file has ``get_studies()``: for each table a configuration file, rows of
overrides, and seeds. Rows that differ in the defense alone share one pretrained
network. Finished cells are kept: the same command again goes on where it stopped.
--dry-run prints the commands instead; --render-only writes the tables of the cells that
are there. --launcher=slurm has a cluster run the cells (docs/cluster.md), --status says
how each stands. Two studies in one folder at a time are refused; --out replaces only
files of this program. A study with fronts has a picture of them, as SVG beside --out.

Exit codes: 0 done, 1 cells failed (a line each), 2 refused, 130, 143 or 129 stopped by
Ctrl-C, SIGTERM or SIGHUP: the cells that run save and end first. Others: docs/runs.md.
"""

from pathlib import Path
from urllib.parse import quote

from absl import flags

from cgat_jax.config.loading import call, find_file
from cgat_jax.errors import InputError
from cgat_jax.files.io import write_text
from cgat_jax.files.ownership import check_out_file
from cgat_jax.report.plotting import draw
from cgat_jax.report.tables import markdown_text
from cgat_jax.reproduction.front import check_front_files, front_chart, front_file
from cgat_jax.reproduction.launchers import Job
from cgat_jax.reproduction.progress import is_done
from cgat_jax.reproduction.study import (
    Study,
    cells_of,
    check_new_cells,
    check_study,
    command,
)
from cgat_jax.reproduction.tables import check_same_data, study_table
from experiments import cells, cli, launching

MADE = "Made by `python -m experiments.study"

_STUDY = flags.DEFINE_string("study", None, "Python file with get_studies()")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the cells' workdirs")
_OUT = flags.DEFINE_string("out", None, "Markdown file of the tables; rewritten")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the commands, run nothing")
_RENDER_ONLY = flags.DEFINE_bool("render_only", False, "run nothing, write the table")


def load_studies(name: str) -> list[Study]:
    """The studies of a Python file.

    Raises:
        InputError: there is no such file, it cannot be run, or it holds no study.
    """
    path = find_file(name)
    found = call(path, "get_studies", "Study records")
    studies = list(found) if isinstance(found, list | tuple) else []
    if not studies or not all(isinstance(study, Study) for study in studies):
        raise InputError(f"{path}: get_studies() must return Study records")
    return studies


def jobs_of(studies: list[Study], root: Path, *, done: bool = True) -> list[Job]:
    """A job for each cell, or for each that is not done; studies may share cells.

    Raises:
        ValueError: two studies mean different runs by one folder.
    """
    jobs: dict[str, Job] = {}
    for study in studies:
        for cell in cells_of(study):
            job = Job(cell.folder, command(study, cell, root), cell.pretrained)
            if jobs.setdefault(cell.folder, job) != job:
                raise ValueError(
                    f"{study.title!r} needs another {cell.folder!r} than the studies "
                    "before it: give its rows other titles or settings"
                )
    finished = {
        cell.folder
        for study in studies
        for cell in cells_of(study)
        if not done and is_done(study, cell, root)
    }
    return [job for job in jobs.values() if job.name not in finished]


def main() -> int:
    """Runs what is missing, and writes the tables after each cell."""
    for flag, name in ((_STUDY, "study"), (_WORKDIR, "workdir")):
        if not flag.value:
            return cli.refuse("study", f"--{name} is missing; see --help")
    launching.check_modes(dry_run=_DRY_RUN.value, render_only=_RENDER_ONLY.value)
    root = Path(_WORKDIR.value)
    studies = load_studies(_STUDY.value)
    for study in studies:
        check_study(study)
    if not (_RENDER_ONLY.value or launching.is_asked_for_status()):
        for study in studies:
            check_new_cells(study, root)
    if _DRY_RUN.value:
        jobs = jobs_of(studies, root)
        print("\n".join(" ".join(job.arguments) for job in jobs))
        return 0
    if launching.is_asked_for_status():
        every, missing = jobs_of(studies, root), jobs_of(studies, root, done=False)
        print(launching.status([job.name for job in every], missing, root))
        return 0
    if _OUT.value:
        check_out_file(Path(_OUT.value), MADE, _heading())
        check_front_files(Path(_OUT.value), studies)
    cells.check_root(root)
    if _RENDER_ONLY.value:
        print(_write(studies, root))
        return 0
    launching.check()
    with cells.claimed(root):
        return _run(studies, root)


def _run(studies: list[Study], root: Path) -> int:
    check_same_data([(study, root) for study in studies])
    missing = jobs_of(studies, root, done=False)
    failed = launching.run_missing(
        "study",
        missing,
        root,
        lambda: _write(studies, root),
        lambda: jobs_of(studies, root, done=False),
    )
    print(_write(studies, root))
    return cli.failures("study", failed, root)


def _write(studies: list[Study], root: Path) -> str:
    check_same_data([(study, root) for study in studies])
    text = "\n".join(_section(study, root) for study in studies)
    if _OUT.value:
        study = Path(_STUDY.value)
        shown = study.name if study.is_absolute() else study  # no path of this machine
        made = f"{MADE} --study={shown}`."
        write_text(Path(_OUT.value), f"{_heading()}\n{made}\n\n{text}")
    return text


def _section(study: Study, root: Path) -> str:
    """A study's table, and with --out its picture, which is written."""
    table = study_table(study, root)
    chart = front_chart(study, root) if _OUT.value else None
    if chart is None:
        return table
    file = front_file(Path(_OUT.value), study)
    write_text(file, draw(chart))
    return f"{table}\n![{markdown_text(study.title)}]({quote(file.name)})\n"


def _heading() -> str:
    """The first line of a study's page, by which no other study's is replaced."""
    return f"# Results: {Path(_STUDY.value).stem}\n"


if __name__ == "__main__":
    cli.run("study", main, patience=cells.STOP_PATIENCE)
