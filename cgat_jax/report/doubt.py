"""What qualifies a robust number: sanity checks, the worst case, transfers."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.records import Record

STATES = {True: "passed", False: "FAILED", None: "not made"}


class TextTable(NamedTuple):
    """A table of text under a title, with a sentence on it."""

    title: str
    note: str
    rows: pd.DataFrame


def sanity_lines(sanity: Sequence[Record]) -> list[str]:
    """A line a network: how many checks passed, and each one that failed."""
    return [
        f"sanity of {names.display(names.DEFENSES, entry['defense'])}: "
        f"{_sanity_summary(entry)}"
        for entry in sanity
    ]


def doubt_tables(
    cells: Sequence[ReportCell], transfers: Sequence[Record], sanity: Sequence[Record]
) -> list[TextTable]:
    """The worst case's parts, the transfers of each attack, the checks."""
    order = sorted(sanity, key=lambda e: names.rank(names.DEFENSES, e["defense"]))
    return [
        *_ensembles(cells),
        *_transfer_matrices(cells, transfers),
        *map(_sanity_table, order),
    ]


def _sanity_summary(entry: Record) -> str:
    """How many checks passed; those that failed with value and threshold."""
    made = [check for check in entry["checks"] if check["passed"] is not None]
    skipped = [check["name"] for check in entry["checks"] if check not in made]
    failed = [
        f"{c['name']} ({_number(c['value'])}, at most {_number(c['threshold'])})"
        for c in made
        if not c["passed"]
    ]
    text = f"{len(made) - len(failed)} of {len(made)} checks passed"
    text += f"; not made: {', '.join(skipped)}" if skipped else ""
    return text + (f"; failed: {'; '.join(failed)}" if failed else "")


def _sanity_table(entry: Record) -> TextTable:
    name = names.display(names.DEFENSES, entry["defense"])
    name += f", seed {entry['seed']}" if entry.get("seed") else ""
    rows = [
        {
            "check": check["name"],
            "result": STATES[check["passed"]],
            "value": "" if check["value"] is None else _number(check["value"]),
            "at most": _number(check["threshold"]),
            "what is measured": check["meaning"],
        }
        for check in entry["checks"]
    ]
    note = (
        f"On the first {entry['num_queries']:,} queries: {_sanity_summary(entry)}."
        f"{_twin(entry)} A check that fails says that the attack may be too weak, not "
        "that the network is robust. Shares and MAP as fractions."
    )
    return TextTable(f"Sanity checks: {name}", note, pd.DataFrame(rows))


def _twin(entry: Record) -> str:
    """On which network the check of transfers relied; records may not know."""
    if "twin" not in entry:
        return ""
    if entry["twin"] is None:
        return " There was no other network to take images from."
    return f" The other network is {names.display(names.DEFENSES, entry['twin'])}."


def _together(cell: ReportCell, cells: Sequence[ReportCell]) -> str:
    """The worst over the ensemble and what it was compared with, and what is not in."""
    record, defense = cell.records[0], names.display(names.DEFENSES, cell.defense)
    others = record.get("others") or []
    left_out = [
        other.attack
        for other in cells
        if other.defense == cell.defense
        and other.attack not in (cell.attack, *others)
        and other.budget is not None
        and other.budget == cell.budget
    ]
    text = ""
    if others and record.get("map_with_others") is not None:
        value = names.percent(record["map_with_others"])
        text += f" {defense}: the worst over these, {_named(others)} is {value}."
    if left_out:
        text += f" {defense}: measured as well, but not included: {_named(left_out)}."
    return text


def _named(attacks: Sequence[str]) -> str:
    found = dict.fromkeys(names.display(names.ATTACKS, attack) for attack in attacks)
    return ", ".join(found)


def _ensembles(cells: Sequence[ReportCell]) -> Iterator[TextTable]:
    """What each attack of the worst case reaches alone, and how often it is worst."""
    whole = [cell for cell in cells if cell.records[0].get("components")]
    rows = [
        {
            "defense": names.display(names.DEFENSES, cell.defense),
            "attack": names.display(names.ATTACKS, part["attack"]),
            "MAP alone": names.percent(part["map"]),
            "worst for": names.percent(part["share"]),
        }
        for cell in whole
        for part in cell.records[0]["components"]
    ]
    note = (
        "MAP of each attack alone, and for which share of the queries, restarts "
        "included, it was the worst; percent, of the first seed."
    )
    note += "".join(_together(cell, cells) for cell in whole)
    if whole:
        version = whole[-1].records[0].get("version") or "unknown version"
        yield TextTable(f"The worst case ({version})", note, pd.DataFrame(rows))


def _transfer_matrices(
    cells: Sequence[ReportCell], transfers: Sequence[Record]
) -> Iterator[TextTable]:
    """A matrix for each attack: rows are attacked, columns are where it was made."""
    white = [cell.records[0] | {"source": cell.defense} for cell in cells]
    for attack in dict.fromkeys(record["attack"] for record in transfers):
        own = [record for record in transfers if record["attack"] == attack]
        attacked = list(dict.fromkeys(record["defense"] for record in own))
        sources = dict.fromkeys([*attacked, *(record["source"] for record in own)])
        own += [record for record in white if record["attack"] == attack]
        found = {(r["defense"], r["source"]): names.percent(r["map"]) for r in own}
        rows = pd.Series(found).unstack(fill_value="")
        rows = rows.reindex(index=attacked, columns=list(sources), fill_value="")
        rows = rows.rename(lambda name: names.display(names.DEFENSES, name), axis=0)
        rows = rows.rename(lambda name: names.display(names.DEFENSES, name), axis=1)
        yield TextTable(
            f"Transfer of {names.display(names.ATTACKS, attack)}",
            "MAP in percent of each network for images that were made on another.",
            rows.reset_index(names="attacked, by images made on"),
        )


def _number(value: Any) -> str:
    return f"{value:.3g}" if abs(value) >= 1e-9 else "0"
