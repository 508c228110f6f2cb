"""Records grouped into the cells of a table, over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

from cgat_jax.config.settings import changed_settings, free_settings
from cgat_jax.errors import InputError
from cgat_jax.report import names
from cgat_jax.report.records import Record, Run

SUBJECT = ("dataset", "backbone", "bits", "loss")
_SEEDS_OWN = {"seed", "pretrained"}  # the same network of another seed


class ReportCell(NamedTuple):
    """One defense under one attack: a record for each seed."""

    defense: str
    attack: str
    budget: float | None
    records: tuple[Record, ...]

    @property
    def map(self) -> float:
        """Mean over the seeds."""
        return mean(self, "map") or 0.0

    @property
    def chance(self) -> float:
        """Mean chance over the seeds."""
        return mean(self, "chance") or 0.0

    @property
    def spread(self) -> tuple[float, float] | None:
        """Lowest and highest MAP over the seeds; None for one seed."""
        values = [float(record["map"]) for record in self.records]
        return (min(values), max(values)) if len(values) > 1 else None

    @property
    def below_chance(self) -> bool:
        """Whether the MAP that is printed is lower than the chance that is printed."""
        return float(names.percent(self.map)) < float(names.percent(self.chance))


def mean(cell: ReportCell, key: str, inner: str | None = None) -> float | None:
    """Mean of a number over a cell's records; None where none has it."""
    values = [record.get(key) for record in cell.records]
    if inner is not None:
        values = [value.get(inner) if value else None for value in values]
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


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
    grouped: dict[tuple[str, str, float | None], list[Record]] = {}
    for record in records:
        budget = record.get("budget")
        budget = None if budget is None else float(budget)
        key = (record["defense"], record["attack"], budget)
        grouped.setdefault(key, []).append(record)
    cells = [ReportCell(*key, tuple(entries)) for key, entries in grouped.items()]
    return sorted(cells, key=_order)


def columns(cells: Sequence[ReportCell]) -> list[tuple[str, float | None]]:
    """The (attack, budget) pairs of the main table, in order."""
    ordered = sorted(cells, key=lambda cell: _order(cell)[1:])
    return list(dict.fromkeys((cell.attack, cell.budget) for cell in ordered))


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


def flatten(config: dict, prefix: str = "") -> list[tuple[str, object]]:
    """Dotted keys and values of a nested configuration, in its order."""
    flat: list[tuple[str, object]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            flat += flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def _order(cell: ReportCell) -> tuple:
    return (
        names.rank(names.DEFENSES, cell.defense),
        names.rank(names.ATTACKS, cell.attack),
        cell.budget if cell.budget is not None else -1.0,
    )
