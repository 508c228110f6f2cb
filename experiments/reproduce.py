r"""Reproduces a table or figure of the CgAT paper: runs it, and sets it beside ours.

    python -m experiments.reproduce --table=1 --bits=32 --data=data --weights=weights \
        --workdir=runs/paper
    python -m experiments.reproduce --table=4 --dataset=quickstart --preset=fast \
        --workdir=runs/small

Tables 1 to 5; figures 1 (an image under attack), 2 to 5 (curves), 6 (lambda). What is
needed is run, each cell as a process of its own; what is there is kept and shared
between tables, so that the same command again goes on where it stopped. --dry-run
prints the plan with its cost, --render-only writes what has been measured, --status
says how each cell stands. --launcher=slurm has a cluster run them (docs/cluster.md).
The result is WORKDIR/table1/ (or figure2/, ...): table.md, table.csv, table.json,
pictures and index.html. A cell that fails is named and stops no other.

--dataset=quickstart does the same in small, without data or weights: its scenes stand
in for all three data sets.

Exit codes: 0 done, 1 cells failed (a line each), 2 refused, 130, 143 or 129 stopped by
Ctrl-C, SIGTERM or SIGHUP: the cells that run save and end first. Others: docs/runs.md.
"""

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from cgat_jax.errors import lookup
from cgat_jax.files.ownership import check_folder, claim_folder
from cgat_jax.report.records import warnings_of
from cgat_jax.reproduction import paper_cells
from cgat_jax.reproduction.comparison import (
    compare_cells,
    each_folder,
    measured,
    text_table,
)
from cgat_jax.reproduction.figures import CAPTIONS, pictures_of
from cgat_jax.reproduction.launchers import Job
from cgat_jax.reproduction.orderings import orderings
from cgat_jax.reproduction.page import is_result, write_reproduction
from cgat_jax.reproduction.progress import is_done
from cgat_jax.reproduction.study import (
    Study,
    cells_of,
    check_new_cells,
    check_study,
    command,
)
from cgat_jax.reproduction.tables import check_same_data
from experiments import cells as runs
from experiments import cli, launching
from experiments.plan import plan

_TABLE = flags.DEFINE_integer("table", None, "table of the paper, 1 to 5")
_FIGURE = flags.DEFINE_integer("figure", None, "figure of the paper, 1 to 6")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the runs and results")
_DATASET = flags.DEFINE_string(
    "dataset", "", "flickr25k, nus_wide, coco or quickstart; empty: all of the table"
)
_BITS = flags.DEFINE_integer("bits", 0, "code length; 0: all of the table")
_SEEDS = flags.DEFINE_integer("seeds", 1, "seeds 0, 1, ... of each cell", lower_bound=1)
_DATA = flags.DEFINE_string("data", "data", "folder with flickr25k/, nus_wide/, coco/")
_WEIGHTS = flags.DEFINE_string(
    "weights", "", "folder with alexnet.safetensors and vgg11.safetensors"
)
_PRESET = flags.DEFINE_string("preset", "paper", "iterations of attacks: paper or fast")
_SET = flags.DEFINE_multi_string(
    "set",
    [],
    "setting of all cells, such as evaluate.num_queries=100; again for others",
)
_TFLOPS = flags.DEFINE_float(
    "tflops",
    None,
    "speed that the plan assumes, TFLOP/s of the machine; by default it is measured",
    lower_bound=1e-6,
)
_GPU = flags.DEFINE_string(
    "gpu", "", "GPU, such as h100, whose cost the plan estimates by its published peak"
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "print the plan and its cost, run nothing"
)
_RENDER_ONLY = flags.DEFINE_bool(
    "render_only", False, "write what is there, run nothing"
)


def main() -> int:
    """Checks the flags, runs what is missing and writes the result."""
    launching.check_modes(dry_run=_DRY_RUN.value, render_only=_RENDER_ONLY.value)
    if (_GPU.value or _TFLOPS.value) and not _DRY_RUN.value:
        raise ValueError("--gpu and --tflops are of the plan: add --dry-run")
    name, cells = wanted_cells()
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing: expected a folder")
    root = Path(_WORKDIR.value)
    seeds = tuple(range(_SEEDS.value))
    found = with_sources(paper_cells.studies(cells, seeds, _overrides()))
    _check_overrides(found)
    if not (_RENDER_ONLY.value or launching.is_asked_for_status()):
        for dataset, each in found.items():
            check_new_cells(each, paper_cells.folder_of(root, dataset))
    if _DRY_RUN.value:
        print("\n".join(plan(found, root, _TFLOPS.value, _GPU.value)))
        return 0
    if launching.is_asked_for_status():
        names = [f"{d}/{cell.folder}" for d in found for cell in cells_of(found[d])]
        print(launching.status(names, jobs_of(found, root), root))
        return 0
    runs.check_root(root)
    check_folder(root / name, "report", is_own=is_result)
    if _RENDER_ONLY.value:
        claim_folder(root, "runs", is_own=runs.is_root)
        print(_write(name, cells, found, root))
        return 0
    launching.check()
    with runs.claimed(root):
        failed = _run(found, root)
        print(_write(name, cells, found, root))
    return cli.failures("reproduce", failed, root)


def _run(found: dict[str, Study], root: Path) -> dict[str, str]:
    """Runs what is missing; what failed."""

    def check() -> None:
        check_same_data(each_folder(found, root))

    check()
    missing = jobs_of(found, root)
    return launching.run_missing(
        "reproduce", missing, root, check, lambda: jobs_of(found, root)
    )


def wanted_cells() -> tuple[str, list[paper_cells.PaperCell]]:
    """The result's name and its cells.

    Raises:
        ValueError: a flag is wrong; says what is possible.
    """
    asked = _TABLE.value is not None, _FIGURE.value is not None
    if sum(asked) != 1:
        raise ValueError("give one of --table=1..5 and --figure=1..6")
    if _DATASET.value:
        lookup("data set", _DATASET.value, paper_cells.CONFIGS)
    which = _DATASET.value, _BITS.value
    if asked[0]:
        if _TABLE.value not in paper_cells.TABLES:
            raise ValueError(f"no table {_TABLE.value}: there are 1 to 5")
        return f"table{_TABLE.value}", paper_cells.cells_of_table(_TABLE.value, *which)
    if _FIGURE.value not in paper_cells.FIGURES:
        raise ValueError(f"no figure {_FIGURE.value}: there are 1 to 6")
    return f"figure{_FIGURE.value}", paper_cells.cells_of_figure(_FIGURE.value, *which)


def _overrides() -> dict[str, Any]:
    settings: dict[str, Any] = {"evaluate.preset": _PRESET.value}
    for text in _SET.value:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set={text}: expected key=value")
        settings[key] = value
    cli.check_overrides([f"--config.{key}" for key in settings])
    return settings


def _check_overrides(found: dict[str, Study]) -> None:
    """Refuses settings that the cells themselves differ in, or that cannot be."""
    own = {key for each in found.values() for row in each.rows.values() for key in row}
    for text in _SET.value:
        if text.partition("=")[0] in own:
            raise ValueError(f"--set={text}: the cells set it themselves")
    for each in found.values():
        check_study(each)


def jobs_of(found: dict[str, Study], root: Path) -> list[Job]:
    """A job for each run that is not done; who defends another's network needs it."""
    jobs = []
    for dataset, each in found.items():
        folder = paper_cells.folder_of(root, dataset)
        for cell in cells_of(each):
            if not is_done(each, cell, folder):
                needs = f"{dataset}/{cell.pretrained}" if cell.pretrained else ""
                name = f"{dataset}/{cell.folder}"
                jobs.append(Job(name, command(each, cell, folder), needs))
    return jobs


def with_sources(found: dict[str, Study]) -> dict[str, Study]:
    """The studies with the settings that tell where their data and weights are."""
    return {
        dataset: dataclasses.replace(
            each, overrides=dict(each.overrides) | _sources(dataset)
        )
        for dataset, each in found.items()
    }


def _sources(dataset: str) -> dict[str, str]:
    if dataset == "quickstart":
        return {}
    settings = {"data.root": str(Path(_DATA.value) / dataset)}
    if _WEIGHTS.value:
        network = "alexnet" if dataset == "flickr25k" else "vgg11"
        settings["model.weights"] = str(Path(_WEIGHTS.value) / f"{network}.safetensors")
    return settings


def _write(name: str, cells, found: dict[str, Study], root: Path) -> str:
    """Writes the result; returns its table and the path of the page."""
    records = measured(cells, found, root)
    rows = compare_cells(records)
    number, pictures = int(name[-1]), {}
    missing = sum(row.ours is None for row in rows)
    printed = any(row.paper is not None for row in rows)
    notes = orderings(rows) + (paper_cells.errata(number) if printed else [])
    if missing:
        notes.append(f"{missing} of {len(rows)} numbers are not measured yet.")
    if name.startswith("figure"):
        pictures, left_out = pictures_of(number, records, found, root)
        notes += [CAPTIONS[number]] if number in CAPTIONS and pictures else []
        notes += left_out
    title = f"CgAT, WWW 2023: {name[:-1]} {number}"
    page = write_reproduction(root / name, title, records, pictures, notes)
    header, table = text_table(rows)
    widths = [max(map(len, column)) for column in zip(header, *table, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        for line in (header, *table)
    ]
    warned = warnings_of([record for own in records.values() for record in own])
    return "\n".join([*warned, *lines, *notes, f"\nreport: {page}"])


if __name__ == "__main__":
    cli.run("reproduce", main, patience=runs.STOP_PATIENCE)
