"""The worst case on the first queries, beside what the same queries have otherwise."""

from collections.abc import Iterator, Sequence

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, group, order_of
from cgat_jax.report.doubt import TextTable
from cgat_jax.report.records import Record
from cgat_jax.report.summary import WORST_CASE, network_words

WIDE = 0.1
"""Half of a 95 % interval of MAP from which on it says little."""


def first_tables(records: Sequence[Record]) -> Iterator[TextTable]:
    """Yields a table for each number of queries; every column is of the same ones.

    Args:
        records: of worst cases with the MAP of ``same_queries``.
    """
    ordered = sorted(records, key=order_of)
    for count in dict.fromkeys(record["num_attacked"] for record in ordered):
        own = [record for record in ordered if record["num_attacked"] == count]
        title = (
            f"Worst case of the first {count:,} of {own[0]['num_queries']:,} queries"
        )
        note = "MAP in percent, each column of these queries alone"
        if any(is_wide(record) for record in own):
            note += f"; of {count:,} queries it is known to no more than 10 points"
        rows = pd.DataFrame([_row(record, own) for record in own]).fillna("-")
        yield TextTable(title, f"{note}.", rows)


def with_first(
    findings: Sequence[str], records: Sequence[Record], cells: Sequence[ReportCell] = ()
) -> list[str]:
    """The sentences of a page, those on the worst case behind its headline.

    Networks among ``cells`` without a worst case, as of a run that was stopped, are
    named, since the others' would stand beside their single attacks.
    """
    plain = (n for n, text in enumerate(findings) if not text.startswith("Warning"))
    place = next(plain, len(findings)) + 1
    known = {names.network(record) for record in records}
    known |= {cell.network for cell in cells if cell.attack == WORST_CASE}
    lacking = dict.fromkeys(c.network for c in cells if c.network not in known)
    told = [
        f"The worst case of {network_words(cells, network)} has not been measured."
        for network in lacking
        if records
    ]
    return [*findings[:place], *first_findings(records), *told, *findings[place:]]


def first_findings(records: Sequence[Record]) -> Iterator[str]:
    """Yields a sentence a network: what the worst case leaves of the first queries."""
    for record in sorted(records, key=order_of, reverse=True):
        network = names.network(record)
        seed = _seed(record, [r for r in records if names.network(r) == network])
        (cell,), same = group([record]), dict(record["same_queries"])
        others = [
            ("no attack", same.pop("clean", None)),
            ("noise", same.pop("noise", None)),
        ]
        for name in record.get("without_budget", ()):
            same.pop(name, None)  # a worst case in the ball may be above it
        if same:
            others.insert(0, ("its strongest single attack", min(same.values())))
        told = [
            f"{what} {_tenth(value)}%" for what, value in others if value is not None
        ]
        low, high = record["map_interval"]
        wide = " They are too few to say more." if is_wide(record) else ""
        yield (
            f"Of the first {record['num_attacked']:,} queries the worst case of "
            f"{len(record['components'])} attacks leaves "
            f"{network_words([cell], cell.network)}{seed} {_tenth(record['map'])}% "
            "(95%: "
            f"{_tenth(low)}{names.DASH}{_tenth(high)}), {', '.join(told)}; chance is "
            f"{_tenth(record['chance'])}%.{wide}"
        )


def is_wide(record: Record) -> bool:
    """Whether a MAP is of too few queries to be known to ten points."""
    low, high = record["map_interval"]
    return (high - low) / 2 > WIDE


def _row(record: Record, others: Sequence[Record]) -> dict[str, str]:
    return {
        "network": f"{names.network(record)}{_seed(record, others)}",
        names.ATTACKS["worst_case"]: names.percent(record["map"]),
        "95%": names.span(record["map_interval"]),
        **{
            names.display(names.ATTACKS, name): names.percent(value)
            for name, value in record["same_queries"].items()
        },
        "chance": names.percent(record["chance"]),
    }


def _seed(record: Record, others: Sequence[Record]) -> str:
    """The seed, where there are several."""
    several = len({each["seed"] for each in others}) > 1
    return f", seed {record['seed']}" if several else ""


def _tenth(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
