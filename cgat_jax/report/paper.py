"""The paper's printed numbers beside ours, where both measured the same thing.

References:
    Wang et al., CgAT, WWW 2023, tables 1 to 5, kept verbatim in
    ``paper_results.csv``; its rows ``printed_delta`` are differences, not results.
"""

import functools
import importlib.resources
import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from cgat_jax.attacks import ATTACKS
from cgat_jax.data.sources.known import KNOWN
from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.records import Record
from cgat_jax.report.tables import without_empty

# Our key (letters and digits only) to the paper's, likewise.
ALIASES = {
    "coco": "mscoco",
    "flickr": "flickr25k",
    "mirflickr": "flickr25k",
    "mirflickr25k": "flickr25k",
    "nus": "nuswide",
    "cgat": "cgatattack",
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


def paper_rows(table: int) -> list[PaperRow]:
    """The results of a table, 1 to 5, in the order of their printing."""
    return [row for row in _rows() if row.table == str(table)]


def paper_values(record: Record) -> list[tuple[str, float]]:
    """The (table, MAP in percent) pairs that the paper prints for a record's cell.

    The paper prints some cells in two tables, and one of them with two values.
    """
    keys = ("dataset", "backbone", "bits", "loss", "defense", "attack")
    wanted = {key: _plain(record[key]) for key in keys}
    wanted["dataset"] = ALIASES.get(wanted["dataset"], wanted["dataset"])
    wanted["attack"] = ALIASES.get(wanted["attack"], wanted["attack"])
    return [
        (row.table, row.map)
        for row in _rows()
        if all(_plain(getattr(row, key)) == value for key, value in wanted.items())
    ]


def paper_table(cells: Sequence[ReportCell]) -> pd.DataFrame:
    """Paper, ours and the difference of the numbers as printed, where both exist."""
    rows = []
    for cell in cells:
        printed = paper_values(cell.records[0])
        if not printed:
            continue
        (_, paper), *others = printed
        notes = [
            f"the paper's table {table} prints {value:.2f} for this cell"
            for table, value in others
            if value != paper
        ]
        rows.append(
            {
                "defense": cell.network,
                "attack": names.display(names.ATTACKS, cell.attack),
                "paper": f"{paper:.2f}",
                "ours": names.percent(cell.map),
                "difference": names.signed(float(names.percent(cell.map)) - paper),
                "chance": names.percent(cell.chance),
                "note": "; ".join([*notes, *unlike(cell)]),
            }
        )
    return without_empty(pd.DataFrame(rows))


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
    steps = (record.get("attack_settings") or {}).get("steps")
    theirs = ATTACKS[cell.attack].budget.steps if cell.attack in ATTACKS else None
    if steps is not None and steps != theirs:
        notes.append(f"ours has {steps} iterations, the paper's {theirs}")
    return notes + _other_sizes(record)


def _other_sizes(record: Record) -> list[str]:
    """Where queries, database or training images are not as many as the paper has."""
    known = KNOWN.get(record.get("dataset"))
    if known is None:
        return []
    keys = ("num_queries", "num_database", "num_train")
    ours = [record.get(key) for key in keys]
    if None in ours or tuple(ours) == known.paper:
        return []
    shown, theirs = (" / ".join(f"{n:,}" for n in s) for s in (ours, known.paper))
    return [f"ours has {shown} queries / database / training, the paper {theirs}"]


@functools.cache
def _rows() -> list[PaperRow]:
    source = importlib.resources.files("cgat_jax.report") / "paper_results.csv"
    with source.open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, na_filter=False)
    table = table.astype({"bits": int, "map": float})
    table = table.rename(columns={"hash_method": "loss"})
    table = table.loc[table["defense"] != "printed_delta", list(PaperRow._fields)]
    return [PaperRow(*row) for row in table.itertuples(index=False)]


@functools.cache
def _plain(name: str | int) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
