"""The paper's numbers beside ours: a table, curves, and one page."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cgat_jax.attacks import ATTACKS
from cgat_jax.report import names
from cgat_jax.report.cells import Cell as TableCell
from cgat_jax.report.figures import draw_charts
from cgat_jax.report.gallery import data_uri
from cgat_jax.report.pages import render
from cgat_jax.report.paper import unlike
from cgat_jax.report.plotting import Chart, Line
from cgat_jax.report.records import Record
from cgat_jax.report.study import Study, records_of
from cgat_jax.report.tables import markdown_table
from cgat_jax.reproduce import TITLES, Cell, curve_of, folder_of
from cgat_jax.workdir import write_json, write_text

HEADER = ("data", "loss", "bits", "defense", "attack")
NUMBERS = ("paper", "ours", "difference", "95% interval", "chance", "seeds", "note")


class Row(NamedTuple):
    """A cell beside what was measured; MAP in percent, None where there is none."""

    cell: Cell
    paper: float | None
    ours: float | None
    difference: float | None
    low: float | None
    high: float | None
    chance: float | None
    seeds: int
    note: str = ""


def measured(
    cells: Sequence[Cell],
    found: Mapping[str, Study],
    root: Path,
) -> dict[Cell, list[Record]]:
    """The records of each cell, one a seed that has been measured.

    Raises:
        ValueError: a record is damaged; names the file.
    """
    known: dict[tuple[str, str, int], dict[str, Record]] = {}
    result = {}
    for cell in cells:
        study = found[cell.dataset]
        records = []
        for seed in study.seeds:
            key = cell.dataset, cell.row, seed
            if key not in known:
                folder = folder_of(root, cell.dataset)
                known[key] = records_of(study, cell.row, seed, folder)
            if cell.attack in known[key]:
                records.append(known[key][cell.attack])
        result[cell] = records
    return result


def compare_cells(records: Mapping[Cell, list[Record]]) -> list[Row]:
    """Each cell's mean over the seeds beside the paper's number.

    The interval is the bootstrap over queries of the one seed, or with several that of
    Student's t over the seeds.
    """
    return [_row(cell, found) for cell, found in records.items()]


def _row(cell: Cell, records: list[Record]) -> Row:
    if not records:
        return Row(cell, cell.paper, *[None] * 5, 0)
    values = [100 * record["map"] for record in records]
    ours, chance = float(np.mean(values)), 100 * records[0]["chance"]
    low, high = _interval(values, records[0])
    gap = None if cell.paper is None else ours - cell.paper
    note = "" if cell.paper is None else "; ".join(_unlike(cell, records))
    return Row(cell, cell.paper, ours, gap, low, high, chance, len(values), note)


def _unlike(cell: Cell, records: list[Record]) -> list[str]:
    """What keeps our number from being measured as the paper's was."""
    record = records[0]
    notes = unlike(TableCell(cell.defense, cell.attack, record["budget"], (record,)))
    paper_steps = ATTACKS[cell.attack].budget.steps if cell.attack in ATTACKS else None
    steps = (record.get("attack_settings") or {}).get("steps")
    if steps is not None and steps != paper_steps:
        notes.append(f"ours has {steps} iterations, the paper's {paper_steps}")
    return notes


# Student's t at 97.5 % for 1 to 9 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def _interval(values: list[float], record: Record) -> tuple[float, float]:
    if len(values) == 1:
        return tuple(100 * end for end in record["map_interval"])
    factor = _T[min(len(values) - 1, len(_T)) - 1]
    half = factor * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def text_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text."""
    return [*HEADER, *NUMBERS], [[*_names(row.cell), *_numbers(row)] for row in rows]


def _names(cell: Cell) -> list[str]:
    defense = names.display(names.DEFENSES, cell.defense)
    if cell.weight is not None:
        defense += f", lambda {cell.weight:g}"
    return [
        TITLES[cell.dataset],
        names.display(names.LOSSES, cell.loss),
        str(cell.bits),
        defense,
        names.display(names.ATTACKS, cell.attack),
    ]


def _numbers(row: Row) -> list[str]:
    def two(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    gap = "-" if row.difference is None else names.signed(row.difference)
    interval = "-" if row.low is None else f"{row.low:.2f} to {row.high:.2f}"
    return [
        *(two(row.paper), two(row.ours), gap),
        *(interval, two(row.chance), str(row.seeds), row.note),
    ]


def charts_of(figure: int, records: Mapping[Cell, list[Record]]) -> dict[str, Chart]:
    """The charts of a figure, one a data set; without measured cells none."""
    charts = {}
    for dataset in dict.fromkeys(cell.dataset for cell in records):
        own = {cell: found for cell, found in records.items() if found}
        own = {cell: found for cell, found in own.items() if cell.dataset == dataset}
        if own:
            chart = _sweep(own) if figure == 6 else _curves(figure, own)
            charts[f"figure{figure}_{dataset}"] = chart
    return charts


def _curves(figure: int, records: Mapping[Cell, list[Record]]) -> Chart:
    key, attack = curve_of(figure)
    x_key, x_label = {
        "pr_curve": ("recall", "recall, %"),
        "precision_at": ("n", "images retrieved"),
    }[key]
    lines = []
    for cell, found in records.items():
        x = np.asarray(found[0][key][x_key], float) * (100 if x_key == "recall" else 1)
        ys = tuple([100 * (y or 0) for y in r[key]["precision"]] for r in found)
        ys = tuple(y for y in ys if len(y) == len(x))
        label = names.display(names.DEFENSES, cell.defense)
        label += ", clean" if cell.attack == "clean" else ""
        lines.append(Line(label, len(lines) + 2, list(x), ys))
    first = next(iter(records))
    title = f"{TITLES[first.dataset]}: {names.display(names.ATTACKS, attack)}"
    level = 100 * records[first][0]["chance"]
    return Chart(title, x_label, "precision, %", tuple(lines), level, (0.0, 103.0))


def _sweep(records: Mapping[Cell, list[Record]]) -> Chart:
    """MAP by lambda, a line an attack, at the lambdas that have been measured."""
    lines = []
    for attack in dict.fromkeys(cell.attack for cell in records):
        own = {c: found for c, found in records.items() if c.attack == attack}
        seeds = min(len(found) for found in own.values())
        ys = tuple([100 * f[i]["map"] for f in own.values()] for i in range(seeds))
        label, style = names.display(names.ATTACKS, attack), len(lines)
        lines.append(Line(label, style, [float(c.weight) for c in own], ys))
    first = next(iter(records))
    level = 100 * records[first][0]["chance"]
    title = f"{TITLES[first.dataset]}: CgAT by lambda"
    return Chart(title, "lambda", "MAP, %", tuple(lines), level, (0.0, 103.0))


def write_reproduction(
    out: Path,
    title: str,
    rows: Sequence[Row],
    charts: Mapping[str, Chart],
    notes: Sequence[str],
) -> Path:
    """Writes Markdown, CSV, JSON, the charts and a page; returns the page.

    Args:
        out: folder; created.
        title: of the table or figure.
        rows: what was measured.
        charts: of a figure, by name.
        notes: footnotes.
    """
    images = draw_charts(dict(charts))
    header, table = text_table(rows)
    text = f"# {title}\n\n{markdown_table(header, table)}\n"
    write_text(out / "table.md", text + "".join(f"- {note}\n" for note in notes))
    write_text(out / "table.csv", _csv(rows))
    write_json(out / "table.json", {"title": title, "rows": _plain(rows)})
    for name, content in images.items():
        (out / name).write_bytes(content)
    page = render(
        "reproduction.html",
        title=title,
        header=header,
        rows=table,
        notes=list(notes),
        left=HEADER,
        images=[
            {
                "alt": chart.title,
                "light": data_uri(images[f"{name}.png"]),
                "dark": data_uri(images[f"{name}_dark.png"]),
            }
            for name, chart in charts.items()
        ],
    )
    write_text(out / "index.html", page)
    return out / "index.html"


def _plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [row.cell._asdict() | row._asdict() | {"cell": row.cell.row} for row in rows]


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    plain = _plain(rows)
    writer = csv.DictWriter(buffer, list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return buffer.getvalue()
