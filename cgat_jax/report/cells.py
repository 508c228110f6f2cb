"""Records grouped into the cells of a table, over seeds."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from cgat_jax.config.settings import changed_settings, free_settings
from cgat_jax.errors import InputError
from cgat_jax.report import names
from cgat_jax.report.records import Record, Run, setting

SUBJECT = ("dataset", "backbone", "bits", "loss")
_SEEDS_OWN = {"seed", "pretrained"}  # the same network of another seed


class ReportCell(NamedTuple):
    """One defense under one attack: a record for each seed."""

    defense: str
    attack: str
    budget: float | None
    records: tuple[Record, ...]

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
    """Cells in the order of the tables: by defense, then by attack and budget.

    Raises:
        InputError: the records are about different networks or splits.
    """
    for key in (*SUBJECT, "split_sha256", "data_sha256"):
        values = list(dict.fromkeys(record.get(key) for record in records))
        if key == "data_sha256":  # of earlier versions' records it is not known
            values = [value for value in values if value is not None]
        if len(values) > 1:
            raise InputError(f"records differ in {key!r}, so no one table: {values}")
    cells = []
    for _, own in itertools.groupby(sorted(records, key=order_of), order_of):
        first, *others = own
        budget = None if first.get("budget") is None else float(first["budget"])
        name = first["defense"], first["attack"]
        cells.append(ReportCell(*name, budget, (first, *others)))
    return cells


def column_name(column: tuple[str, float | None], cells: Sequence[ReportCell]) -> str:
    """An attack's name, with its budget where the table holds several of them."""
    attack, budget = column
    name = names.display(names.ATTACKS, attack)
    several = len({cell.budget for cell in cells if cell.attack == attack}) > 1
    if not several:
        return name
    return f"{name} {names.level(budget)}" if budget is not None else f"{name} free"


def check_comparable(runs: Sequence[Run]) -> None:
    """Checks that runs differ in the seed alone, so that their mean means something.

    Raises:
        InputError: two runs differ in another setting, or share a seed.
    """
    neutral = free_settings() | _SEEDS_OWN
    for run in runs[1:]:
        for key, first, other in changed_settings(runs[0].config, run.config):
            if key not in neutral:
                raise InputError(
                    f"workdirs differ in {key!r}: {first!r} in "
                    f"{str(runs[0].path)!r}, {other!r} in {str(run.path)!r}; "
                    "expected the seed alone"
                )
    for cell in group([record for run in runs for record in run.records]):
        seeds = [record["seed"] for record in cell.records]
        if len(set(seeds)) < len(seeds):
            raise InputError(
                f"workdirs share a seed: {seeds} ({cell.defense}, {cell.attack})"
            )


def order_of(entry: Record) -> tuple:
    """Sorts by defense, attack and budget."""
    budget = entry.get("budget")
    return (
        names.rank(names.DEFENSES, entry["defense"]),
        names.rank(names.ATTACKS, entry["attack"]),
        -1.0 if budget is None else budget,
    )
