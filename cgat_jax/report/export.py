"""The report as Markdown and CSV text."""

from collections.abc import Sequence

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, group
from cgat_jax.report.doubt import TextTable
from cgat_jax.report.paper import paper_table, paper_values
from cgat_jax.report.records import Record, warnings_of
from cgat_jax.report.sanity import Examined
from cgat_jax.report.tables import (
    BELOW,
    detail_table,
    main_texts,
    markdown_table,
    markdown_text,
)

FIELDS = (
    *("dataset", "split", "split_sha256", "backbone", "bits", "loss", "defense"),
    *("attack", "budget", "seed", "map", "map_at", "map_all", "map_expected"),
    *("t_map", "chance", "ceiling", "bound", "num_without_relevant"),
    *("num_queries", "num_attacked", "num_database", "num_train", "bits_flipped"),
    *("seconds", "device", "commit", "config_sha256", "linf", "rmse", "variant"),
)

_TERMS = {
    "noise": "Random noise has the budget of the attacks, and aims at nothing.",
    "cgat": "CgAT's attack moves a query's code away from its center code, which is "
    "near the codes of all images that share a label with it and far from those of all "
    "others.",
    "worst_case": "The worst case takes for each query the attack of an ensemble that "
    "hurts it most.",
}


def to_csv(records: Sequence[Record]) -> str:
    """One line a record, MAP as fractions at full precision; the paper's beside it."""
    rows = [{**record, **(record.get("perturbation") or {})} for record in records]
    # Objects: an integer stays one where other records lack it.
    table = pd.DataFrame(rows, columns=FIELDS, dtype=object)
    table["below_chance"] = [str(r["map"] < r["chance"]).lower() for r in records]
    printed = [paper_values(record)[:1] for record in records]
    table["paper_map"] = [f"{p[0][1] / 100:.4f}" if p else None for p in printed]
    return table.to_csv(index=False, lineterminator="\n")


def to_markdown(
    title: str,
    findings: Sequence[str],
    cells: Sequence[ReportCell],
    missing: Sequence[str],
    doubts: Sequence[TextTable] = (),
    checks: Sequence[Examined] = (),
) -> str:
    """The report without pictures.

    ``doubts`` and ``checks`` are what qualifies the numbers.
    """
    verdicts = [f"{each.network}: {each.verdict}." for each in checks]
    texts = [f"# {title}", *findings, *filter(None, [" ".join(verdicts)])]
    parts = [f"{markdown_text(text)}\n" for text in texts]
    if cells:
        parts += ["## MAP\n", *_main(cells)]
        paper = paper_table(cells)
        if len(paper):
            parts += ["## Beside the paper\n", markdown_table(paper)]
        parts += ["## Details\n", markdown_table(detail_table(cells))]
    checked = [
        TextTable(f"Sanity checks: {each.network}", each.note, each.rows)
        for each in checks
    ]
    for table in [*doubts, *checked]:
        title, note = markdown_text(table.title), markdown_text(table.note)
        parts += [f"## {title}\n", f"{note}\n", markdown_table(table.rows)]
    if missing:
        listed = "".join(f"- {markdown_text(text)}\n" for text in missing)
        parts += ["## Missing\n", listed]
    return "\n".join(parts)


def records_markdown(records: Sequence[Record]) -> str:
    """The main table of records, with what is to be known to read it."""
    warned = [f"{markdown_text(text)}\n" for text in warnings_of(records)]
    return "\n".join([*warned, *_main(group(records))])


def _main(cells: Sequence[ReportCell]) -> list[str]:
    """The main table, its row names as a first column, and the notes on it."""
    texts = main_texts(cells, BELOW)
    table = texts.reset_index(names=texts.columns.name)
    return [
        markdown_table(table),
        *(f"{markdown_text(n)}\n" for n in table_notes(cells)),
    ]


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
    if len({len(cell.records) for cell in cells}) > 1:
        notes.append("Not every number has all seeds; results.csv lists them.")
    if any(cell.below_chance for cell in cells):
        notes.append(f"{BELOW} marks a MAP below chance.")
    notes += filter(None, map(_unbounded, cells))
    attacks = {cell.attack for cell in cells}
    notes += [text for attack, text in _TERMS.items() if attack in attacks]
    parts = {cell.attack: _part(cell.records[0]) for cell in cells}
    if len(set(parts.values())) == 1 and "" not in parts.values():
        return [*notes, f"Every number: {next(iter(parts.values()))}."]
    named = {names.display(names.ATTACKS, a): part for a, part in parts.items() if part}
    return notes + [f"{name}: {part}." for name, part in named.items()]


def _unbounded(cell: ReportCell) -> str | None:
    """What an attack without a budget changed."""
    largest, rms = (cell.mean(f"perturbation.{key}") for key in ("linf", "rmse"))
    if cell.budget is not None or cell.attack == "clean" or None in (largest, rms):
        return None
    return (
        f"{names.display(names.ATTACKS, cell.attack)} has no budget: on "
        f"{cell.network} it changed pixels by up to {names.level(largest)}, "
        f"{names.level(rms)} RMS."
    )


def _part(record: Record) -> str:
    """How many of the queries a record is about, where not all."""
    attacked, total = record.get("num_attacked"), record.get("num_queries")
    if not attacked or not total or attacked >= total:
        return ""
    return f"the first {attacked:,} of {total:,} queries only"
