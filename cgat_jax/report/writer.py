"""Writes a report: tables, charts and one page that needs no other file."""

import operator
from collections.abc import Sequence
from pathlib import Path

from cgat_jax.files.io import write_text
from cgat_jax.files.ownership import check_folder, claim_folder, holds_marks
from cgat_jax.report import names
from cgat_jax.report.cells import check_comparable, group
from cgat_jax.report.doubt import doubt_tables
from cgat_jax.report.export import table_notes, to_csv, to_markdown
from cgat_jax.report.figures import charts
from cgat_jax.report.gallery import THUMBNAIL, load_galleries, picture
from cgat_jax.report.pages import render
from cgat_jax.report.paper import paper_table
from cgat_jax.report.provenance import attack_settings, provenance, settings
from cgat_jax.report.records import Run, read_run, setting
from cgat_jax.report.summary import findings, meaning, story
from cgat_jax.report.tables import BELOW, detail_table, main_table

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
    sanity = [entry for run in runs for entry in run.sanity]
    galleries, damaged = load_galleries(runs[0], cells)
    images = charts(runs, cells)
    both = {  # of the page and of Markdown
        "title": page_title(runs[0]),
        "findings": findings(cells),
        "missing": [*_missing(runs), *damaged],
        "doubts": doubt_tables(cells, runs[0].transfers, sanity),
    }
    page = render(
        "page.html",
        **both,
        seeds=_seeds(runs),
        explanation=[story(records[0]), meaning(records[0])] if records else [],
        table=main_table(cells),
        notes=table_notes(cells),
        below=BELOW,
        paper=paper_table(cells),
        details=detail_table(cells),
        figures={
            kind: [svg for name, svg in images.items() if name.startswith(f"{kind}_")]
            for kind in ("loss", "precision", "pr", "budget")
        },
        galleries=galleries,
        picture=picture,
        thumbnail=THUMBNAIL,
        flips=lambda one, other: sum(map(operator.ne, one, other)),
        provenance=provenance(records),
        attacks=attack_settings(records),
        settings=settings(runs[0]),
    )
    claim_folder(out, "report", is_own=is_report)
    write_text(out / "results.csv", to_csv(records))
    write_text(out / "results.md", to_markdown(cells=cells, **both))
    for name, svg in images.items():
        write_text(out / f"{name}.svg", svg)
    write_text(out / "index.html", page)
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
