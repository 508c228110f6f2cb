"""What qualifies a robust number: the worst case, transfers, ties."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.records import Record
from cgat_jax.report.tables import without_empty

TIES = (
    "Images at one Hamming distance from a query are tied and come in the order of the "
    "database; MAP averaged over all orders of tied images shows what that decides. "
    "Few distinct codes are a sign of collapse: then robustness is bought by telling "
    "few images apart."
)


class TextTable(NamedTuple):
    """A table of text under a title, with a sentence on it."""

    title: str
    note: str
    rows: pd.DataFrame


def doubt_tables(
    cells: Sequence[ReportCell], transfers: Sequence[Record]
) -> list[TextTable]:
    """The worst case's parts, the transfers of each attack, how much ties decide."""
    return [
        *_ensembles(cells),
        *transfer_tables(cells, transfers),
        *_ties(cells),
    ]


def _together(cell: ReportCell, cells: Sequence[ReportCell]) -> str:
    """The worst over the ensemble and what it was compared with, and what is not in."""
    record, network = cell.records[0], cell.network
    others = record.get("others") or []
    left_out = [
        other.attack
        for other in cells
        if other.network == network
        and other.attack not in (cell.attack, *others)
        and other.budget is not None
        and other.budget == cell.budget
    ]
    text = ""
    if others and record.get("map_with_others") is not None:
        value = names.percent(record["map_with_others"])
        text += f" {network}: the worst over these, {_named(others)} is {value}"
        text += ", lower since it is over more; the ensemble alone is what to quote."
    if left_out:
        text += f" {network}: measured as well, but not included: {_named(left_out)}."
    return text


def _named(attacks: Sequence[str]) -> str:
    found = dict.fromkeys(names.display(names.ATTACKS, attack) for attack in attacks)
    return ", ".join(found)


def _ensembles(cells: Sequence[ReportCell]) -> Iterator[TextTable]:
    """What each attack of the worst case reaches alone, and how often it is worst."""
    whole = [cell for cell in cells if cell.records[0].get("components")]
    rows = [
        {
            "defense": cell.network,
            "attack": names.display(names.ATTACKS, part["attack"]),
            "MAP alone": names.percent(part["map"]),
            "worst for": names.percent(part["share"]),
        }
        for cell in whole
        for part in cell.records[0]["components"]
    ]
    note = (
        "MAP of each attack alone, and for which share of the queries, restarts "
        "included, it was the worst; percent, of the first seed. Each query keeps its "
        "lowest average precision, so that the worst case is below every one of them. "
        "They run as the ensemble has them, Square for 1,000 queries of the network: "
        "under the same name alone an attack may have more, and another MAP."
    )
    note += "".join(_together(cell, cells) for cell in whole)
    if whole:
        version = whole[-1].records[0].get("version") or "unknown version"
        yield TextTable(f"The worst case ({version})", note, pd.DataFrame(rows))


def transfer_tables(
    cells: Sequence[ReportCell], transfers: Sequence[Record]
) -> Iterator[TextTable]:
    """A matrix for each attack: rows are attacked, columns are where it was made."""
    white = [(cell.network, cell.network, cell.records[0]) for cell in cells]
    told = [(names.network(r), _source(r), r) for r in transfers]
    for attack in dict.fromkeys(record["attack"] for record in transfers):
        own = [each for each in told if each[2]["attack"] == attack]
        attacked = list(dict.fromkeys(network for network, _, _ in own))
        sources = dict.fromkeys([*attacked, *(source for _, source, _ in own)])
        own += [each for each in white if each[2]["attack"] == attack]
        found = {(n, source): names.percent(r["map"]) for n, source, r in own}
        rows = pd.Series(found).unstack(fill_value="")
        rows = rows.reindex(index=attacked, columns=list(sources), fill_value="")
        yield TextTable(
            f"Transfer of {names.display(names.ATTACKS, attack)}",
            "MAP in percent of each network for images that were made on another.",
            rows.reset_index(names="attacked, by images made on"),
        )


def _source(record: Record) -> str:
    source = {"defense": record["source"], "variant": record.get("source_variant")}
    return names.network(source)


def _ties(cells: Sequence[ReportCell]) -> Iterator[TextTable]:
    """How many codes there are, how many images share a distance, and what of it."""
    rows = [
        {
            "network": cell.network,
            "distinct codes": _distinct(cell),
            "at one distance": _tied(cell),
            "MAP": names.percent(cell.map),
            "MAP over all orders": names.percent(cell.mean("map_expected")),
        }
        for cell in cells
        if cell.attack == "clean" and cell.mean("map_expected") is not None
    ]
    if rows:
        rows = without_empty(pd.DataFrame(rows))
        note = "Clean queries."
        if "at one distance" in rows:
            note += (
                " At one distance: how many images of the database, on average, lie "
                "where an image lies, seen from a query."
            )
        shared = "".join(_shared(cell) for cell in cells if cell.attack == "clean")
        yield TextTable("Ties and distinct codes", f"{note} {TIES}{shared}", rows)


def _shared(cell: ReportCell) -> str:
    """A verdict where most images have the code of another: fewer codes than half."""
    share = cell.mean("code_usage.unique")
    if share is None or share >= 0.5:
        return ""
    return (
        f" {cell.network}: most images have the code of another one, and no search can "
        "tell these apart."
    )


def _distinct(cell: ReportCell) -> str:
    share, size = cell.mean("code_usage.unique"), cell.mean("num_database")
    if share is None or size is None:
        return ""
    return f"{round(share * size):,} of {round(size):,}"


def _tied(cell: ReportCell) -> str:
    tied, size = cell.mean("tie_size"), cell.mean("num_database")
    return "" if tied is None or size is None else f"{tied:,.0f} of {size:,.0f}"
