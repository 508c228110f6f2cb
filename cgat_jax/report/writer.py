"""Writes a report: tables, charts and one page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgat_jax.files.io import write_bytes
from cgat_jax.files.ownership import check_folder, claim_folder, holds_marks
from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, check_comparable, group
from cgat_jax.report.doubt import TextTable, doubt_tables
from cgat_jax.report.export import table_notes, to_csv, to_markdown
from cgat_jax.report.figures import charts, draw_charts
from cgat_jax.report.gallery import inline, load_galleries
from cgat_jax.report.pages import render
from cgat_jax.report.plotting import Chart, Picture, describe
from cgat_jax.report.provenance import attack_settings, provenance, settings
from cgat_jax.report.records import Run, read_run, setting
from cgat_jax.report.summary import findings, meaning, story
from cgat_jax.report.tables import BELOW, detail_table, main_table, paper_table

# Lines of every report since the first version, by which one without a mark is known.
_MARKS = {
    "index.html": '<p class="eyebrow">Hashing retrieval under attack</p>',
    "results.csv": "dataset,split,split_sha256,backbone,bits,loss,defense,attack,",
    "results.md": "## MAP",
}


def write_report(workdir: Path) -> Path:
    """Writes ``report/`` in a workdir, complete or not; returns its index.html.

    Raises:
        InputError: the workdir holds no results, a damaged file, or a folder ``report``
            that is not ours.
    """
    return write_reports([workdir], workdir / "report")


def write_reports(workdirs: Sequence[Path], out: Path) -> Path:
    """Writes one report on runs that differ in the seed alone; returns index.html.

    Tables show the mean over the seeds with the lowest and the highest value, charts
    the mean and the range, galleries and settings those of the first run.

    Args:
        workdirs: at least one.
        out: folder of the report.

    Raises:
        InputError: a workdir holds no results, they differ in more than the seed, or
            the folder of the report holds something else.
    """
    check_folder(out, "report", is_own=is_report)
    runs = [read_run(workdir) for workdir in workdirs]
    check_comparable(runs)
    records = [record for run in runs for record in run.records]
    cells = group(records)
    galleries, damaged = load_galleries(runs[0], cells)
    missing = [*_missing(runs), *damaged]
    doubts = _doubts(runs, cells)
    wanted = charts(runs, cells)
    images = draw_charts(wanted)
    title = page_title(runs[0])
    files = {
        "results.csv": to_csv(records).encode(),
        "results.md": to_markdown(
            title, findings(cells), cells, missing, doubts
        ).encode(),
        **images,
        "index.html": _page(
            runs, cells, _figures(wanted, images), galleries, missing
        ).encode(),
    }
    claim_folder(out, "report", is_own=is_report)
    for name, content in files.items():
        write_bytes(out / name, content)
    return out / "index.html"


def is_report(folder: Path) -> bool:
    """Whether a folder without a mark is a report of an earlier version."""
    return holds_marks(folder, _MARKS)


def page_title(run: Run) -> str:
    """Data set, backbone, bits and loss, from a record or the configuration."""
    first = run.records[0] if run.records else {}

    def known(key: str, path: str) -> str:
        return str(first.get(key) or setting(run.config, path, "unknown"))

    dataset = names.display(names.DATASETS, known("dataset", "data.name"))
    backbone = names.display(names.BACKBONES, known("backbone", "model.name"))
    loss = names.display(names.LOSSES, known("loss", "loss.name"))
    text = f"{dataset}, {backbone}, {known('bits', 'model.bits')} bits"
    return text if loss == names.GIVEN else f"{text}, {loss}"


def _page(
    runs: Sequence[Run],
    cells: list[ReportCell],
    figures: dict[str, list[dict[str, str]]],
    galleries: list[dict[str, Any]],
    missing: Sequence[str],
) -> str:
    records = [record for run in runs for record in run.records]
    return render(
        "page.html",
        title=page_title(runs[0]),
        seeds=_seeds(runs),
        findings=findings(cells),
        explanation=[story(records[0]), meaning(records[0])] if records else [],
        table=main_table(cells),
        notes=table_notes(cells),
        below=BELOW,
        paper=paper_table(cells),
        details=detail_table(cells),
        doubts=_doubts(runs, cells),
        figures=figures,
        galleries=galleries,
        provenance=provenance(records),
        attacks=attack_settings(records),
        settings=settings(runs[0]),
        missing=missing,
    )


def _doubts(runs: Sequence[Run], cells: list[ReportCell]) -> list[TextTable]:
    """Checks of all seeds; transfers of the first."""
    sanity = [entry for run in runs for entry in run.sanity]
    return doubt_tables(cells, runs[0].transfers, sanity)


def _figures(
    wanted: dict[str, Chart], images: dict[str, bytes]
) -> dict[str, list[dict[str, str]]]:
    """Charts by kind, as data URIs for a light and a dark page."""
    kinds: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("loss", "precision", "pr", "budget")
    }
    for name, chart in wanted.items():
        files = images[f"{name}.png"], images[f"{name}_dark.png"]
        kinds[name.split("_")[0]].append(inline(Picture(describe(chart), *files)))
    return kinds


def _seeds(runs: Sequence[Run]) -> str:
    seeds = {record["seed"] for run in runs for record in run.records}
    seeds = seeds or {setting(run.config, "seed", "unknown") for run in runs}
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(
        map(str, sorted(seeds, key=lambda seed: (isinstance(seed, str), seed)))
    )


def _missing(runs: Sequence[Run]) -> list[str]:
    """What is missing; with several runs, in which."""
    if len(runs) == 1:
        return list(runs[0].missing)
    return [f"{run.path.name}/{text}" for run in runs for text in run.missing]
