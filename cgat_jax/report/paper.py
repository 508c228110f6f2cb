"""The paper's printed numbers beside ours, where both measured the same thing.

References:
    Wang et al., CgAT, WWW 2023, tables 1 to 5, kept verbatim in
    ``paper_results.csv``; its rows ``printed_delta`` are differences, not results.
"""

import csv
import functools
import importlib.resources
import re
from collections.abc import Sequence
from typing import NamedTuple

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.records import Record

# Our key (letters and digits only) to the paper's, likewise.
ALIASES = {
    "coco": "mscoco",
    "flickr": "flickr25k",
    "mirflickr": "flickr25k",
    "mirflickr25k": "flickr25k",
    "nus": "nuswide",
}
PAPER_MAP_AT = 5000
PAPER_BUDGET = 8 / 255


class PaperRow(NamedTuple):
    """A number as the paper prints it; MAP in percent."""

    table: str
    dataset: str
    backbone: str
    bits: int
    loss: str
    defense: str
    attack: str
    map: float


class Comparison(NamedTuple):
    """One cell of the paper beside ours; MAP in percent, difference in points."""

    defense: str
    attack: str
    paper: float
    ours: float
    difference: float
    chance: float
    note: str


def paper_values(record: Record) -> list[tuple[str, float]]:
    """The (table, MAP in percent) pairs that the paper prints for a record's cell.

    The paper prints some cells in two tables, and one of them with two values.
    """
    attack = "cgatattack" if record["attack"] == "cgat" else _plain(record["attack"])
    wanted = (
        _alias(record["dataset"]),
        _plain(record["backbone"]),
        str(record["bits"]),
        _plain(record["loss"]),
        _plain(record["defense"]),
        attack,
    )
    return list(_printed().get(wanted, []))


def paper_rows(table: int) -> list[PaperRow]:
    """The results of a table, 1 to 5, in the order of their printing."""
    return [
        PaperRow(
            row["table"],
            row["dataset"],
            row["backbone"],
            int(row["bits"]),
            row["hash_method"],
            row["defense"],
            row["attack"],
            float(row["map"]),
        )
        for row in _rows()
        if row["table"] == str(table)
    ]


def compare(cells: Sequence[ReportCell]) -> list[Comparison]:
    """Paper, ours and the difference of the numbers as printed, where both exist."""
    rows = []
    for cell in cells:
        printed = paper_values(cell.records[0])
        if printed:
            ours, paper = float(names.percent(cell.map)), printed[0][1]
            rows.append(
                Comparison(
                    defense=cell.defense,
                    attack=cell.attack,
                    paper=paper,
                    ours=ours,
                    difference=round(ours - paper, 2),
                    chance=cell.chance,
                    note="; ".join([*_conflict(printed), *unlike(cell)]),
                )
            )
    return rows


def _conflict(printed: list[tuple[str, float]]) -> list[str]:
    return [
        f"the paper's table {table} prints {value:.2f} for this cell"
        for table, value in printed[1:]
        if value != printed[0][1]
    ]


def unlike(cell: ReportCell) -> list[str]:
    """What keeps our number from being measured as the paper's was."""
    record, notes = cell.records[0], []
    if record.get("map_at") not in (None, PAPER_MAP_AT):
        notes.append(f"ours is MAP@{record['map_at']}, the paper's MAP@{PAPER_MAP_AT}")
    if cell.budget is not None and abs(cell.budget - PAPER_BUDGET) > 1e-4:
        notes.append(f"our budget is {names.level(cell.budget)}, the paper's 8/255")
    if (record.get("attack_settings") or {}).get("rounded"):
        notes.append("our attacked images are rounded to 8 bits, the paper's are not")
    attacked, total = record.get("num_attacked"), record.get("num_queries")
    if record.get("without_relevant") == "exclude":
        notes.append("ours leaves out queries that share no label with the database")
    if attacked and total and attacked < total:
        notes.append(f"ours uses the first {attacked:,} of {total:,} queries")
    return notes


@functools.cache
def _printed() -> dict[tuple[str, ...], list[tuple[str, float]]]:
    """The tables and the numbers of each cell, by what names it."""
    keys = ("dataset", "backbone", "bits", "hash_method", "defense", "attack")
    found: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    for row in _rows():
        cell = tuple(_plain(row[key]) for key in keys)
        found.setdefault(cell, []).append((row["table"], float(row["map"])))
    return found


@functools.cache
def _rows() -> list[dict[str, str]]:
    source = importlib.resources.files("cgat_jax.report") / "paper_results.csv"
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["defense"] != "printed_delta"]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _alias(dataset: str) -> str:
    plain = _plain(dataset)
    return ALIASES.get(plain, plain)
