"""What qualifies a robust number: sanity checks, the worst case, transfers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.records import Record

STATES = {True: "passed", False: "FAILED", None: "not made"}


class TextTable(NamedTuple):
    """A table under a title, with a sentence on it."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]


def sanity_lines(sanity: Sequence[Record]) -> list[str]:
    """A line a network: how many checks passed, and each one that failed."""
    return [
        f"sanity of {names.display(names.DEFENSES, entry['defense'])}: "
        f"{sanity_summary(entry)}"
        for entry in sanity
    ]


def sanity_summary(entry: Record) -> str:
    """How many checks passed; those that failed with value and threshold."""
    made = [check for check in entry["checks"] if check["passed"] is not None]
    skipped = [check["name"] for check in entry["checks"] if check not in made]
    failed = [check for check in made if not check["passed"]]
    text = f"{len(made) - len(failed)} of {len(made)} checks passed"
    if skipped:
        text += f"; not made: {', '.join(skipped)}"
    if not failed:
        return text
    return text + "; failed: " + "; ".join(map(_failure, failed))


def doubt_tables(
    cells: Sequence[ReportCell], transfers: Sequence[Record], sanity: Sequence[Record]
) -> list[TextTable]:
    """The worst case's parts, the transfers of each attack, the checks."""
    return [
        *_ensembles(cells),
        *_transfer_matrices(cells, transfers),
        *map(_sanity_table, sorted(sanity, key=_rank)),
    ]


def _sanity_table(entry: Record) -> TextTable:
    name = names.display(names.DEFENSES, entry["defense"])
    name += f", seed {entry['seed']}" if entry.get("seed") else ""
    rows = [
        [
            check["name"],
            STATES[check["passed"]],
            "" if check["value"] is None else _number(check["value"]),
            _number(check["threshold"]),
            check["meaning"],
        ]
        for check in entry["checks"]
    ]
    note = (
        f"On the first {entry['num_queries']:,} queries: {sanity_summary(entry)}."
        f"{_twin(entry)} A check that fails says that the attack may be too weak, not "
        "that the network is robust. Shares and MAP as fractions."
    )
    header = ["check", "result", "value", "at most", "what is measured"]
    return TextTable(f"Sanity checks: {name}", note, header, rows)


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


def _ensembles(cells: Sequence[ReportCell]) -> list[TextTable]:
    """What each attack of the worst case reaches alone, and how often it is worst."""
    rows, version, together = [], "", ""
    for cell in cells:
        record = cell.records[0]
        if record.get("components"):
            together += _together(cell, cells)
        for part in record.get("components") or []:
            version = record.get("version") or "unknown version"
            rows.append(
                [
                    names.display(names.DEFENSES, cell.defense),
                    names.display(names.ATTACKS, part["attack"]),
                    names.percent(part["map"]),
                    names.percent(part["share"]),
                ]
            )
    note = (
        "MAP of each attack alone, and for which share of the queries, restarts "
        "included, it was the worst; percent, of the first seed."
    )
    note += together
    header = ["defense", "attack", "MAP alone", "worst for"]
    return (
        [TextTable(f"The worst case ({version})", note, header, rows)] if rows else []
    )


def _transfer_matrices(
    cells: Sequence[ReportCell], transfers: Sequence[Record]
) -> list[TextTable]:
    """A matrix for each attack: rows are attacked, columns are where it was made."""
    white = {(cell.defense, cell.attack): cell.records[0] for cell in cells}
    tables = []
    for attack in dict.fromkeys(record["attack"] for record in transfers):
        own = [record for record in transfers if record["attack"] == attack]
        found = {(r["defense"], r["source"]): r["map"] for r in own}
        victims = list(dict.fromkeys(record["defense"] for record in own))
        sources = list(dict.fromkeys([*victims, *(r["source"] for r in own)]))
        for name in victims:
            if (name, attack) in white:
                found[name, name] = white[name, attack]["map"]
        rows = [
            [
                names.display(names.DEFENSES, victim),
                *(
                    names.percent(found[victim, source])
                    if (victim, source) in found
                    else ""
                    for source in sources
                ),
            ]
            for victim in victims
        ]
        title = f"Transfer of {names.display(names.ATTACKS, attack)}"
        note = "MAP in percent of each network for images that were made on another."
        header = [
            "attacked, by images made on",
            *(names.display(names.DEFENSES, s) for s in sources),
        ]
        tables.append(TextTable(title, note, header, rows))
    return tables


def _rank(entry: Record) -> tuple[int, str]:
    return names.rank(names.DEFENSES, entry["defense"])


def _failure(check: dict[str, Any]) -> str:
    value, limit = _number(check["value"]), _number(check["threshold"])
    return f"{check['name']} ({value}, at most {limit})"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1e-9 else "0"
