"""What is written of a table or figure of the paper: Markdown, CSV, JSON and a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cgat_jax.files.io import write_json, write_text
from cgat_jax.files.ownership import claim_folder, holds_marks
from cgat_jax.report.pages import render
from cgat_jax.report.plotting import for_page
from cgat_jax.report.provenance import provenance
from cgat_jax.report.records import Record, warnings_of
from cgat_jax.report.tables import (
    markdown_table,
    markdown_text,
    without_common,
    without_empty,
)
from cgat_jax.reproduction.comparison import HEADER, Row, compare_cells, text_table
from cgat_jax.reproduction.orderings import paper_layout
from cgat_jax.reproduction.paper_cells import PaperCell

# Lines of every result since the first version, by which one without a mark is known.
_MARKS = {
    "index.html": '<p class="eyebrow">The paper beside this package</p>',
    "table.csv": "dataset,loss,bits,defense,attack,",
    "table.json": ' "title": "',
    "table.md": "# CgAT, WWW 2023: ",
}


def write_reproduction(
    out: Path,
    title: str,
    records: Mapping[PaperCell, list[Record]],
    pictures: Mapping[str, str],
    notes: Sequence[str],
) -> Path:
    """Writes Markdown, CSV, JSON, pictures and a page; returns the page.

    Args:
        out: folder; created, and ours.
        title: of the table or figure.
        records: what was measured of each cell.
        pictures: of a figure, as SVG by name.
        notes: footnotes.

    Raises:
        ForeignFilesError: the folder holds something else.
    """
    claim_folder(out, "report", is_own=is_result)
    rows = compare_cells(records)
    header, texts = text_table(rows)
    table = pd.DataFrame(texts, columns=header)
    layout = paper_layout(rows)
    every = [record for found in records.values() for record in found]
    warnings = warnings_of(every)
    made = dict(provenance(every)) if every else {}
    made.pop("config sha256", None)  # one for each run: in table.json
    tables = f"{markdown_table(layout)}\n\n{markdown_table(table)}\n"
    footnotes = [*notes, *(f"{name}: {value}" for name, value in made.items())]
    listed, warned = _each("- {}\n", footnotes), _each("{}\n\n", warnings)
    write_text(
        out / "table.md", f"# {markdown_text(title)}\n\n{warned}{tables}\n{listed}"
    )
    plain = pd.DataFrame(_plain(rows), dtype=object)
    write_text(out / "table.csv", plain.to_csv(index=False, lineterminator="\n"))
    content = {"title": title, "notes": list(notes), "made": made}
    content |= {"warnings": warnings} if warnings else {}
    write_json(out / "table.json", content | {"rows": _with_runs(rows, records)})
    for name, picture in pictures.items():
        write_text(out / f"{name}.svg", picture)
    alike = ("data", "loss", "bits", "chance", "seeds")
    common, narrow = without_common(_by_network(table), alike)
    page = render(
        "reproduction.html",
        title=title,
        warnings=warnings,
        layout=without_common(layout, alike[:3])[1],
        rows=without_empty(narrow),
        common=common,
        notes=list(notes),
        left=[*HEADER, "note"],
        made=made,
        pictures=[for_page(picture, name) for name, picture in pictures.items()],
    )
    write_text(out / "index.html", page)
    return out / "index.html"


def _each(form: str, texts: Sequence[str]) -> str:
    return "".join(form.format(markdown_text(text)) for text in texts)


def _by_network(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with those of a network together, networks in the order they come in."""
    network = [name for name in HEADER if name != "attack"]
    order = table.groupby(network, sort=False).ngroup()
    return table.iloc[order.argsort(kind="stable")]


def is_result(folder: Path) -> bool:
    """Whether a folder without a mark is a result of an earlier version."""
    return holds_marks(folder, _MARKS)


def _with_runs(rows, records: Mapping[PaperCell, list[Record]]) -> list[dict[str, Any]]:
    return [
        each | {"runs": [_run(record) for record in found]}
        for each, found in zip(_plain(rows), records.values(), strict=True)
    ]


def _run(record: Record) -> dict[str, Any]:
    """Where a seed's number comes from: its settings, code and machine."""
    keys = ("seed", "map", "num_attacked", "budget", "attack_settings", "split_sha256")
    keys += ("config_sha256", "commit", "device", "versions")
    return {key: record.get(key) for key in keys}


def _plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [row.cell._asdict() | row._asdict() | {"cell": row.cell.row} for row in rows]
