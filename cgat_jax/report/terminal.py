"""What a run says when it is done, in 80 columns."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from cgat_jax.report.cells import group
from cgat_jax.report.doubt import TextTable, transfer_tables
from cgat_jax.report.first_queries import first_tables
from cgat_jax.report.records import Record, warnings_of
from cgat_jax.report.sanity import MEANING, examined, failures
from cgat_jax.report.tables import main_texts

WIDTH = 80


def closing(results: dict[str, list[Record]]) -> str:
    """What was found: tables, transfers, and which checks failed with what to do.

    Args:
        results: what ``results.json`` holds.
    """
    tables = [
        *first_tables(results.get("first_queries", [])),
        *transfer_tables(group(results["records"]), results["transfers"]),
    ]
    parts = [terminal_table(results["records"]), *map(_titled, tables)]
    if results["sanity"]:
        parts.append("".join(f"{line}\n" for line in sanity_lines(results["sanity"])))
    return "\n".join(parts)


def terminal_table(records: Sequence[Record]) -> str:
    """What is wrong with the data, then the main table as plain text, chance last."""
    cells = group(records)
    texts = main_texts(cells, "*")
    warned = [line for text in warnings_of(records) for line in _wrapped(text)]
    below = ["* below chance"] if any(cell.below_chance for cell in cells) else []
    table = texts.reset_index(names=texts.columns.name)
    return "".join(f"{line}\n" for line in [*warned, *_lines(table), *below])


def sanity_lines(sanity: Sequence[Record]) -> Iterator[str]:
    """Yields a line a network, and of each check that failed what to do."""
    for entry, told in zip(sanity, map(_examined, sanity), strict=True):
        count = f"{entry['num_queries']:,} queries"
        yield f"sanity of {told.network}: {told.verdict}, on {count}"
    failed = sorted(failures(sanity), key=lambda failure: failure.check)
    for check, own in itertools.groupby(failed, key=lambda failure: failure.check):
        found = list(own)
        values = "; ".join(f"{each.network} {each.measured}" for each in found)
        yield from _wrapped(f"{check} ({values})", "  ")
        yield from _wrapped(found[0].advice, "    ")
    if failed:
        yield from _wrapped(MEANING)


def _examined(entry: Record) -> Any:
    return examined([entry])[0]


def _titled(table: TextTable) -> str:
    lines = [*_wrapped(f"{table.title}. {table.note}"), *_lines(table.rows)]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(table: pd.DataFrame) -> Iterator[str]:
    """Yields a table's lines; columns that do not fit come in another one below."""
    first, *columns = [[name, *table[name]] for name in table]
    widths = [max(map(len, column)) for column in columns]
    left = max(map(len, first))
    while columns:
        count, used = 0, left
        while count < len(columns) and used + 2 + widths[count] <= WIDTH:
            used, count = used + 2 + widths[count], count + 1
        count = max(count, 1)
        for name, *cells in zip(first, *columns[:count], strict=True):
            shown = map(str.rjust, cells, widths[:count])
            yield "  ".join([name.ljust(left), *shown])
        columns, widths = columns[count:], widths[count:]
        if columns:
            yield ""
