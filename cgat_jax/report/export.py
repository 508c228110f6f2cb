"""The report as Markdown and CSV text."""

import csv
import io
from collections.abc import Sequence

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, group, mean
from cgat_jax.report.doubt import TextTable
from cgat_jax.report.paper import paper_values
from cgat_jax.report.records import Record, warnings_of
from cgat_jax.report.tables import (
    BELOW,
    detail_table,
    main_rows,
    markdown_table,
    markdown_text,
    paper_table,
)

FIELDS = (
    *("dataset", "split", "split_sha256", "backbone", "bits", "loss", "defense"),
    *("attack", "budget", "seed", "map", "map_at", "map_all", "map_expected"),
    *("t_map", "chance", "ceiling", "bound", "num_without_relevant"),
    *("num_queries", "num_attacked", "num_database", "num_train", "bits_flipped"),
    *("seconds", "device", "commit", "config_sha256"),
)


def to_csv(records: Sequence[Record]) -> str:
    """One line a record, MAP as fractions at full precision; the paper's beside it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*FIELDS, "linf", "rmse", "below_chance", "paper_map"])
    for record in records:
        change = record.get("perturbation") or {}
        printed = paper_values(record)
        row = [record.get(field) for field in FIELDS]
        row += [change.get("linf"), change.get("rmse")]
        row.append(str(record["map"] < record["chance"]).lower())
        row.append(f"{printed[0][1] / 100:.4f}" if printed else None)
        writer.writerow(row)
    return buffer.getvalue()


def to_markdown(
    title: str,
    findings: Sequence[str],
    cells: Sequence[ReportCell],
    missing: Sequence[str],
    doubts: Sequence[TextTable] = (),
) -> str:
    """The report without pictures."""
    parts = [f"{markdown_text(text)}\n" for text in [f"# {title}", *findings]]
    if cells:
        parts.append("## MAP\n")
        parts.append(markdown_table(*main_rows(cells, BELOW)))
        parts += [f"{note}\n" for note in table_notes(cells)]
        header, rows = paper_table(cells)
        if rows:
            parts += ["## Beside the paper\n", markdown_table(header, rows)]
        parts += ["## Details\n", markdown_table(*detail_table(cells))]
    for table in doubts:
        parts += [f"## {table.title}\n", f"{table.note}\n"]
        parts.append(markdown_table(table.header, table.rows))
    if missing:
        parts += [
            "## Missing\n",
            "".join(f"- {markdown_text(text)}\n" for text in missing),
        ]
    return "\n".join(parts)


def records_markdown(records: Sequence[Record]) -> str:
    """The main table of records, with what is to be known to read it."""
    cells = group(records)
    parts = [f"{markdown_text(text)}\n" for text in warnings_of(records)]
    parts.append(markdown_table(*main_rows(cells, BELOW)))
    return "\n".join([*parts, *(f"{note}\n" for note in table_notes(cells))])


def table_notes(cells: Sequence[ReportCell]) -> list[str]:
    """What a reader of the main table must know to read it right."""
    notes = []
    seeds = sorted({record["seed"] for cell in cells for record in cell.records})
    if len(seeds) > 1:
        listed = ", ".join(map(str, seeds))
        notes.append(
            f"Each MAP is the mean over {len(seeds)} seeds ({listed}); the range with "
            "it goes from the lowest to the highest."
        )
    counts = {len(cell.records) for cell in cells}
    if len(counts) > 1:
        notes.append("Not every number has all seeds; results.csv lists them.")
    if any(cell.below_chance for cell in cells):
        notes.append(f"{BELOW} marks a MAP below chance.")
    notes += filter(None, map(_unbounded, cells))
    parts = {cell.attack: _part(cell.records[0]) for cell in cells}
    if len(set(parts.values())) == 1 and "" not in parts.values():
        return [*notes, f"Every number: {next(iter(parts.values()))}."]
    named = {names.display(names.ATTACKS, a): part for a, part in parts.items() if part}
    return notes + [f"{name}: {part}." for name, part in named.items()]


def _unbounded(cell: ReportCell) -> str | None:
    """What an attack without a budget changed."""
    if cell.budget is not None or cell.attack == "clean":
        return None
    largest, rms = (mean(cell, "perturbation", key) for key in ("linf", "rmse"))
    if largest is None or rms is None:
        return None
    return (
        f"{names.display(names.ATTACKS, cell.attack)} has no budget: on "
        f"{names.display(names.DEFENSES, cell.defense)} it changed pixels by up to "
        f"{names.level(largest)}, {names.level(rms)} RMS."
    )


def _part(record: Record) -> str:
    """How many of the queries a record is about, where not all."""
    attacked, total = record.get("num_attacked"), record.get("num_queries")
    if not attacked or not total or attacked >= total:
        return ""
    return f"the first {attacked:,} of {total:,} queries only"
