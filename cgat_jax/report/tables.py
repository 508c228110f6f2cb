"""The tables of a report, for the page, Markdown and the terminal."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, column_name, order_of
from cgat_jax.report.names import DASH

BELOW = "\N{BLACK DOWN-POINTING TRIANGLE}"
_SHARES = {
    "MAP all": "map_all",
    "MAP expected over ties": "map_expected",
    "t-MAP": "t_map",
    "chance": "chance",
    "ceiling": "ceiling",
    "bound": "bound",
}
_COMMON = ("chance", "ceiling", "queries", "database")
_CHANGE = ("budget", "largest change", "RMS change", "bits flipped", "seconds")


def main_table(cells: Sequence[ReportCell]) -> pd.DataFrame:
    """The cells by network and attack, None where nothing was measured; then chance.

    The last column is text; what the first is called stands above the row names.
    """
    found = {(cell.network, cell.attack, cell.budget): cell for cell in cells}
    networks = list(dict.fromkeys(cell.network for cell in cells))
    alike = {"defense": "", "variant": ""}
    ordered = sorted(cells, key=lambda cell: order_of(cell._asdict() | alike))
    wanted = dict.fromkeys((cell.attack, cell.budget) for cell in ordered)
    table = pd.DataFrame(
        [[found.get((network, *column)) for column in wanted] for network in networks],
        index=networks,
        columns=[column_name(column, cells) for column in wanted],
        dtype=object,
    )
    table["chance"] = [
        _chance([cell for cell in cells if cell.network == each]) for each in networks
    ]
    return table.rename_axis(columns="MAP, %")


def main_texts(cells: Sequence[ReportCell], mark: str) -> pd.DataFrame:
    """The main table as text, ``mark`` behind a MAP below chance."""

    def text(cell: ReportCell | str | None) -> str:
        if cell is None or isinstance(cell, str):
            return cell or "-"
        spread = f" ({cell.spread})" if cell.spread else ""
        below = f" {mark}" if cell.below_chance else ""
        return names.percent(cell.map) + spread + below

    return main_table(cells).map(text)


def detail_table(cells: Sequence[ReportCell]) -> pd.DataFrame:
    """Everything measured in a cell as text, means over the seeds."""
    first = cells[0].records[0] if cells else {}
    map_at = f"MAP@{first.get('map_at') or 'k'}"
    return without_empty(pd.DataFrame([_details(cell, map_at) for cell in cells]))


def detail_parts(table: pd.DataFrame) -> tuple[str, list[pd.DataFrame]]:
    """What is alike in all rows of the details, and the rest as narrow tables."""
    told, rest = without_common(table, _COMMON)
    change = [column for column in rest if column in _CHANGE]
    rows = ["defense", "attack"]
    parts = [rest.drop(columns=change), rest.reindex(columns=[*rows, *change])]
    return told, [part for part in parts if part.shape[1] > len(rows)]


def without_common(
    table: pd.DataFrame, columns: Sequence[str]
) -> tuple[str, pd.DataFrame]:
    """A sentence on those of some columns that are alike in all rows; the others."""
    alike = [c for c in columns if c in table and table[c].nunique() == 1 < len(table)]
    told = ", ".join(f"{column} {table[column].iloc[0]}" for column in alike)
    return f"In all rows: {told}." if told else "", table.drop(columns=alike)


def without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """A table without the columns that no row fills."""
    return table.loc[:, ~table.isin(["", DASH]).all()]


def markdown_table(table: pd.DataFrame) -> str:
    """A table in Markdown; first column left, others right."""
    rules = ["---", *["---:"] * (len(table.columns) - 1)]
    return "".join(
        "| " + " | ".join(map(markdown_text, line)) + " |\n"
        for line in [table.columns, rules, *table.to_numpy()]
    )


def markdown_text(text: str) -> str:
    """Text in Markdown that cannot start a tag or end a table's cell."""
    clean = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return clean.replace("<", "&lt;")


def _chance(cells: Sequence[ReportCell]) -> str:
    values = sorted({names.percent(cell.chance) for cell in cells}, key=float)
    return DASH.join(dict.fromkeys([values[0], values[-1]]))


def _details(cell: ReportCell, map_at: str) -> dict[str, str]:
    record, seconds = cell.records[0], cell.mean("seconds")
    attacked, total = record.get("num_attacked"), record.get("num_queries")
    part = f"{attacked:,} of " if attacked and total and attacked < total else ""
    database, interval = record.get("num_database"), record.get("map_interval")

    def shown(value: Any, form: Callable[[Any], str] = names.percent) -> str:
        return DASH if value is None else form(value)

    return {
        "defense": cell.network,
        "attack": names.display(names.ATTACKS, cell.attack),
        "budget": shown(cell.budget, names.level),
        map_at: names.percent(cell.map),
        # The bootstrap over queries is that of one seed.
        "95% over queries": shown(None if cell.spread else interval, names.span),
        **{title: shown(cell.mean(key)) for title, key in _SHARES.items()},
        "largest change": shown(cell.mean("perturbation.linf"), names.level),
        "RMS change": shown(cell.mean("perturbation.rmse"), names.level),
        "bits flipped": shown(cell.mean("bits_flipped")),
        "queries": f"{part}{total:,}" if total else DASH,
        "database": f"{database:,}" if database else DASH,
        "seconds": shown(seconds, "{:,.1f}".format),
    }
