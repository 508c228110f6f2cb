"""Writes a report: tables, charts and one page that needs no other file."""

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgat_jax.files.io import write_text
from cgat_jax.files.ownership import check_folder, claim_folder, holds_marks
from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, group
from cgat_jax.report.doubt import doubt_tables
from cgat_jax.report.export import table_notes, to_csv, to_markdown
from cgat_jax.report.figures import charts
from cgat_jax.report.first_queries import first_tables, with_first
from cgat_jax.report.gallery import THUMBNAIL, load_galleries, picture
from cgat_jax.report.pages import render
from cgat_jax.report.paper import paper_table
from cgat_jax.report.plotting import for_page
from cgat_jax.report.provenance import attack_settings, provenance
from cgat_jax.report.provenance import settings as settings_rows
from cgat_jax.report.records import Record, Run, read_run, setting
from cgat_jax.report.sanity import MEANING, examined, failures
from cgat_jax.report.summary import findings, meaning, story
from cgat_jax.report.tables import BELOW, detail_parts, detail_table, main_table
from cgat_jax.report.variants import settings_of, tell_apart, title_of

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
    """Writes one report on one or several runs; returns its index.html.

    Runs that differ in the seed alone are averaged: tables show the mean with the
    lowest and the highest value, charts the mean and the range, galleries and settings
    those of the first run. Runs that differ in the network, the loss, the training or
    the defense stand side by side, in the same tables and charts.

    Args:
        workdirs: at least one.
        out: folder of the report.

    Raises:
        InputError: a workdir holds no results, they are of other data or were measured
            otherwise, or the folder of the report holds something else.
    """
    check_folder(out, "report", is_own=is_report)
    runs = tell_apart([read_run(workdir) for workdir in workdirs])
    settings = settings_of(runs)
    records = [record for run in runs for record in run.records]
    cells = group(records)
    sanity = [entry for run in runs for entry in run.sanity]
    first = [record for run in runs for record in run.first]
    firsts = [own[0] for own in settings]
    galleries, damaged = load_galleries(firsts, cells)
    transfers = [record for run in firsts for record in run.transfers]
    images = charts(runs, cells)
    both = {  # of the page and of Markdown
        "title": page_title(runs),
        "findings": with_first(findings(cells), first, cells),
        "missing": [*_missing(runs), *damaged],
        "doubts": [*first_tables(first), *doubt_tables(cells, transfers)],
        "checks": examined(sanity),
    }
    page = render(
        "page.html",
        **both,
        seeds=_seeds(runs),
        explanation=[story(records), meaning(records[0])] if records else [],
        failures=failures(sanity),
        sanity_meaning=MEANING,
        galleries=galleries,
        **_tables(cells, records),
        figures=_figures(images),
        configurations=_configurations(settings),
        **_helpers(),
    )
    claim_folder(out, "report", is_own=is_report)
    write_text(out / "results.csv", to_csv(records))
    write_text(out / "results.md", to_markdown(cells=cells, **both))
    for name, svg in images.items():
        write_text(out / f"{name}.svg", svg)
    write_text(out / "index.html", page)
    return out / "index.html"


def _tables(cells: Sequence[ReportCell], records: Sequence[Record]) -> dict[str, Any]:
    """The tables of the page."""
    common, details = detail_parts(detail_table(cells))
    return {
        "table": main_table(cells),
        "notes": table_notes(cells),
        "paper": paper_table(cells),
        "common": common,
        "details": details,
        "provenance": provenance(records),
        "attacks": attack_settings(records),
    }


def _helpers() -> dict[str, Any]:
    """What the template calls."""
    return {
        "below": BELOW,
        "picture": picture,
        "thumbnail": THUMBNAIL,
        "flips": lambda one, other: sum(map(operator.ne, one, other)),
    }


def _figures(images: dict[str, str]) -> dict[str, list[str]]:
    """The charts by kind, in the colors of the page."""
    kinds = ("loss", "training", "precision", "pr", "budget")
    return {
        kind: [
            for_page(svg, name)
            for name, svg in images.items()
            if name.startswith(f"{kind}_")
        ]
        for kind in kinds
    }


def _configurations(settings: Sequence[Sequence[Run]]) -> list[tuple[str, Any]]:
    several = len(settings) > 1
    return [
        ("Configuration" + (f": {title_of(runs)}" if several else ""), rows)
        for runs in settings
        if (rows := settings_rows(runs[0]))
    ]


def is_report(folder: Path) -> bool:
    """Whether a folder without a mark is a report of an earlier version."""
    return holds_marks(folder, _MARKS)


def page_title(runs: Sequence[Run]) -> str:
    """Data set, backbone, bits, loss and networks, from records or configurations."""

    def known(key: str, path: str, table: dict[str, str]) -> str:
        values = [record[key] for run in runs for record in run.records]
        values = values or [setting(run.config, path, "unknown") for run in runs]
        found = dict.fromkeys(names.display(table, str(value)) for value in values)
        return _listed(list(found))

    dataset = known("dataset", "data.name", names.DATASETS)
    backbone = known("backbone", "model.name", names.BACKBONES)
    loss = known("loss", "loss.name", names.LOSSES)
    text = f"{dataset}, {backbone}, {known('bits', 'model.bits', {})} bits"
    text += "" if loss == names.GIVEN else f", {loss}"
    cells = group([record for run in runs for record in run.records])
    networks = list(dict.fromkeys(cell.network for cell in cells))
    if len(networks) > 4:
        return f"{text[:1].upper()}{text[1:]}: {len(networks)} networks"
    told = f": {_listed(networks)}" if networks != [backbone] else ""
    return text[:1].upper() + text[1:] + (told if networks else "")


def _listed(words: Sequence[str]) -> str:
    *others, last = words or [""]
    return f"{', '.join(others)} and {last}" if others else last


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
