"""Runs tables of results, a run for each cell, and writes them from the records.

    python -m experiments.study --study=experiments/studies/quickstart.py \
        --workdir=runs/study --out=docs/results_quickstart.md

A study file has ``get_studies()``: for each table a configuration file, rows of
overrides, and seeds. Rows that differ in the defense alone share one pretrained
network. Finished cells are kept: the same command again goes on where it stopped.
--dry_run prints the commands instead; --render_only writes the tables of the cells that
are there.

Exit codes: 0 done, 2 refused, otherwise that of the cell that failed.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

from absl import flags

from cgat_jax.report.study import Cell, Study, cells_of, study_table
from cgat_jax.workdir import write_text
from experiments import cli

_STUDY = flags.DEFINE_string("study", None, "Python file with get_studies()")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the cells' workdirs")
_OUT = flags.DEFINE_string("out", None, "Markdown file of the tables; rewritten")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the commands, run nothing")
_RENDER_ONLY = flags.DEFINE_bool("render_only", False, "run nothing, write the table")


def load_studies(path: Path) -> list[Study]:
    """The studies of a Python file.

    Raises:
        ValueError: there is no such file, or it holds no study.
    """
    if not path.is_file():
        raise ValueError(f"--study: no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location("study", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    studies = list(module.get_studies()) if hasattr(module, "get_studies") else []
    if not studies or not all(isinstance(study, Study) for study in studies):
        raise ValueError(f"--study: get_studies() of {path} must return Study records")
    return studies


def command(study: Study, cell: Cell, root: Path) -> list[str]:
    """The command line of one cell."""
    arguments = [sys.executable, "-m", "experiments.main", f"--config={study.config}"]
    arguments += [f"--workdir={root / cell.folder}", f"--config.seed={cell.seed}"]
    if cell.pretrained:
        arguments.append(f"--config.pretrained={root / cell.pretrained}")
    settings = study.overrides | dict(cell.overrides)
    arguments += [f"--config.{key}={value}" for key, value in settings.items()]
    return [*arguments, f"--config.compilation_cache={root / 'compiled'}"]


def commands_of(studies: list[Study], root: Path) -> dict[str, list[str]]:
    """The command line of each cell by its folder; studies may share cells.

    Raises:
        ValueError: two studies mean different runs by one folder.
    """
    commands: dict[str, list[str]] = {}
    for study in studies:
        for cell in cells_of(study):
            arguments = command(study, cell, root)
            if commands.setdefault(cell.folder, arguments) != arguments:
                raise ValueError(
                    f"{study.title!r} needs another {cell.folder!r} than the studies "
                    "before it: give its rows other titles or settings"
                )
    return commands


def main() -> int:
    """Runs what is missing, and writes the tables after each cell."""
    for flag, name in ((_STUDY, "study"), (_WORKDIR, "workdir")):
        if not flag.value:
            return cli.refuse("study", f"--{name} is missing; see --help")
    root = Path(_WORKDIR.value)
    try:
        studies = load_studies(Path(_STUDY.value))
        return _run(studies, commands_of(studies, root), root)
    except ValueError as error:
        return cli.refuse("study", error)


def _run(studies: list[Study], commands: dict[str, list[str]], root: Path) -> int:
    if _DRY_RUN.value:
        print("\n".join(" ".join(arguments) for arguments in commands.values()))
        return 0
    for number, (folder, arguments) in enumerate(commands.items(), start=1):
        if _RENDER_ONLY.value or (root / folder / "results.json").is_file():
            continue
        print(f"cell {number} of {len(commands)}: {folder}", flush=True)
        done = subprocess.run(arguments, stdout=subprocess.DEVNULL)
        if done.returncode:
            return done.returncode
        _write(studies, root)
    print(_write(studies, root))
    return 0


def _write(studies: list[Study], root: Path) -> str:
    text = "\n".join(study_table(study, root) for study in studies)
    if _OUT.value:
        made = f"Made by `python -m experiments.study --study={_STUDY.value}`."
        head = f"# Results: {Path(_STUDY.value).stem}\n\n{made}\n\n"
        write_text(Path(_OUT.value), head + text)
    return text


if __name__ == "__main__":
    cli.run("study", main)
