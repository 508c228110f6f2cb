"""The paper's numbers beside ours: means over seeds, differences and intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import sem
from scipy.stats import t as student

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.paper import unlike
from cgat_jax.report.records import Record
from cgat_jax.reproduction.paper_cells import TITLES, PaperCell, folder_of
from cgat_jax.reproduction.study import Study
from cgat_jax.reproduction.tables import check_same_data, records_of

HEADER = ("data", "loss", "bits", "defense", "attack")
NUMBERS = ("paper", "ours", "difference", "95% interval", "chance", "seeds", "note")


class Row(NamedTuple):
    """A cell beside what was measured; MAP in percent, None where there is none."""

    cell: PaperCell
    paper: float | None
    ours: float | None
    difference: float | None
    low: float | None
    high: float | None
    chance: float | None
    seeds: int
    note: str = ""


def measured(
    cells: Sequence[PaperCell],
    found: Mapping[str, Study],
    root: Path,
) -> dict[PaperCell, list[Record]]:
    """The records of each cell, one a seed that has been measured.

    Raises:
        InputError: a record is damaged, or two of a data set are of other data; names
            the files.
    """
    check_same_data(each_folder(found, root))
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


def each_folder(found: Mapping[str, Study], root: Path) -> list[tuple[Study, Path]]:
    """The studies by data set, each with the folder of its runs."""
    return [(each, folder_of(root, dataset)) for dataset, each in found.items()]


def compare_cells(records: Mapping[PaperCell, list[Record]]) -> list[Row]:
    """Each cell's mean over the seeds beside the paper's number.

    The interval is the bootstrap over queries of the one seed, or with several that of
    Student's t over the seeds.
    """
    return [_row(cell, found) for cell, found in records.items()]


def _row(cell: PaperCell, records: list[Record]) -> Row:
    if not records:
        return Row(cell, cell.paper, *[None] * 5, 0)
    values = [100 * record["map"] for record in records]
    ours, chance = float(np.mean(values)), 100 * records[0]["chance"]
    low, high = _interval(values, records[0])
    gap = None if cell.paper is None else ours - cell.paper
    note = "" if cell.paper is None else "; ".join(_unlike(cell, records))
    return Row(cell, cell.paper, ours, gap, low, high, chance, len(values), note)


def _unlike(cell: PaperCell, records: list[Record]) -> list[str]:
    """What keeps our number from being measured as the paper's was."""
    record = records[0]
    budget = record.get("budget")
    return unlike(ReportCell(cell.defense, cell.attack, budget, (record,)))


def _interval(
    values: list[float], record: Record
) -> tuple[float, float] | tuple[None, None]:
    if len(values) == 1:
        interval = record.get("map_interval")
        return tuple(100 * end for end in interval) if interval else (None, None)
    # Not student.interval: seeds that agree have a width of 0, for which it is NaN.
    middle = float(np.mean(values))
    half = float(student.ppf(0.975, len(values) - 1) * sem(values))
    return middle - half, middle + half


def text_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text."""
    return [*HEADER, *NUMBERS], [
        [*cell_names(row.cell), *_numbers(row)] for row in rows
    ]


def cell_names(cell: PaperCell) -> tuple[str, ...]:
    """What a table calls data, loss, bits, defense and attack of a cell."""
    defense = names.display(names.DEFENSES, cell.defense)
    if cell.weight is not None:
        defense += f", lambda {cell.weight:g}"
    return (
        TITLES[cell.dataset],
        names.display(names.LOSSES, cell.loss),
        str(cell.bits),
        defense,
        names.display(names.ATTACKS, cell.attack),
    )


def _numbers(row: Row) -> list[str]:
    def two(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    gap = "-" if row.difference is None else names.signed(row.difference)
    interval = "-" if row.low is None else f"{row.low:.2f} to {row.high:.2f}"
    return [
        *(two(row.paper), two(row.ours), gap),
        *(interval, two(row.chance), str(row.seeds), row.note),
    ]
