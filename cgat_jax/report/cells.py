"""Records grouped into the cells of a table, over seeds."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from cgat_jax.errors import InputError
from cgat_jax.report import names
from cgat_jax.report.records import Record, setting

SUBJECT = ("backbone", "bits", "loss")
DATA = ("dataset", "split_sha256", "data_sha256")


class ReportCell(NamedTuple):
    """One network under one attack: a record for each seed.

    ``variant`` tells networks with the same defense apart; empty where all have others.
    """

    defense: str
    attack: str
    budget: float | None
    records: tuple[Record, ...]
    variant: str = ""

    @property
    def network(self) -> str:
        """What tables call the attacked network."""
        return names.network(self._asdict())

    def mean(self, key: str) -> float | None:
        """Mean of the number at a dotted key; None where no record has it."""
        values = [setting(record, key) for record in self.records]
        present = [value for value in values if value is not None]
        return sum(present) / len(present) if present else None

    @property
    def map(self) -> float:
        """Mean over the seeds."""
        return self.mean("map") or 0.0

    @property
    def chance(self) -> float:
        """Mean chance over the seeds."""
        return self.mean("chance") or 0.0

    @property
    def spread(self) -> str:
        """Lowest and highest MAP over the seeds, percent; empty for one seed."""
        maps = [record["map"] for record in self.records]
        return names.span((min(maps), max(maps))) if len(maps) > 1 else ""

    @property
    def below_chance(self) -> bool:
        """Whether the MAP that is printed is lower than the chance that is printed."""
        return float(names.percent(self.map)) < float(names.percent(self.chance))


def group(records: Sequence[Record]) -> list[ReportCell]:
    """Cells in the order of the tables: by network, then by attack and budget.

    Raises:
        InputError: the records are of different data, or of different networks that
            nothing tells apart.
    """
    _check_alike(records, DATA)
    for variant in {record.get("variant") for record in records}:
        own = [record for record in records if record.get("variant") == variant]
        _check_alike(own, SUBJECT)
    cells = []
    for _, own in itertools.groupby(sorted(records, key=order_of), order_of):
        first, *others = own
        budget = None if first.get("budget") is None else float(first["budget"])
        name, variant = (first["defense"], first["attack"]), first.get("variant") or ""
        cells.append(ReportCell(*name, budget, (first, *others), variant))
    return cells


def _check_alike(records: Sequence[Record], keys: Sequence[str]) -> None:
    for key in keys:
        values = list(dict.fromkeys(record.get(key) for record in records))
        if key == "data_sha256":  # of earlier versions' records it is not known
            values = [value for value in values if value is not None]
        if len(values) > 1:
            raise InputError(f"records differ in {key!r}, so no one table: {values}")


def column_name(column: tuple[str, float | None], cells: Sequence[ReportCell]) -> str:
    """An attack's name, with its budget where the table holds several of them."""
    attack, budget = column
    name = names.display(names.ATTACKS, attack)
    several = len({cell.budget for cell in cells if cell.attack == attack}) > 1
    if not several:
        return name
    return f"{name} {names.level(budget)}" if budget is not None else f"{name} free"


def order_of(entry: Record) -> tuple:
    """Sorts by network, attack and budget."""
    budget = entry.get("budget")
    return (
        names.rank(names.DEFENSES, entry["defense"]),
        entry.get("variant") or "",
        names.rank(names.ATTACKS, entry["attack"]),
        -1.0 if budget is None else budget,
    )
