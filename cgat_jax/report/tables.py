"""The tables of a report as rows of text, for the page, Markdown and the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, column_name, columns, group, mean
from cgat_jax.report.paper import compare
from cgat_jax.report.records import Record, warnings_of

BELOW = "\N{BLACK DOWN-POINTING TRIANGLE}"
DASH = "\N{EN DASH}"


class Entry(NamedTuple):
    """A number of the main table, ready to print; percent."""

    text: str
    spread: str
    value: float
    chance: float
    below_chance: bool


class MainTable(NamedTuple):
    """Rows are defenses, columns are attacks; None where nothing was measured."""

    attacks: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry | None, ...], str], ...]


def main_table(cells: Sequence[ReportCell]) -> MainTable:
    """MAP of each defense under each attack, chance last."""
    wanted = columns(cells)
    rows = []
    for defense in dict.fromkeys(cell.defense for cell in cells):
        own = {(c.attack, c.budget): c for c in cells if c.defense == defense}
        entries = tuple(_entry(own.get(column)) for column in wanted)
        name = names.display(names.DEFENSES, defense)
        rows.append((name, entries, _chance(list(own.values()))))
    return MainTable(tuple(column_name(c, cells) for c in wanted), tuple(rows))


def detail_table(cells: Sequence[ReportCell]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of everything measured in a cell, means over the seeds."""
    first = cells[0].records[0] if cells else {}
    header = ["defense", "attack", "budget", f"MAP@{first.get('map_at') or 'k'}"]
    header += [
        "95% of queries",
        "MAP all",
        "MAP expected over ties",
        "t-MAP",
        "chance",
        "ceiling",
    ]
    header += ["bound", "largest change", "RMS change", "bits flipped", "queries"]
    header += ["database", "seconds"]
    return _without_empty(header, [_details(cell) for cell in cells])


def paper_table(cells: Sequence[ReportCell]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of paper, ours, difference and chance."""
    header = ["defense", "attack", "paper", "ours", "difference", "chance", "note"]
    rows = [
        [
            names.display(names.DEFENSES, row.defense),
            names.display(names.ATTACKS, row.attack),
            f"{row.paper:.2f}",
            f"{row.ours:.2f}",
            names.signed(row.difference),
            names.percent(row.chance),
            row.note,
        ]
        for row in compare(cells)
    ]
    return _without_empty(header, rows)


def main_rows(
    cells: Sequence[ReportCell], mark: str
) -> tuple[list[str], list[list[str]]]:
    """The main table as plain text, ``mark`` behind a MAP below chance."""
    table = main_table(cells)
    rows = [
        [name, *(_plain(entry, mark) for entry in entries), chance]
        for name, entries, chance in table.rows
    ]
    return ["MAP, %", *table.attacks, "chance"], rows


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; first column left, others right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(
        "| " + " | ".join(markdown_text(cell) for cell in line) + " |\n"
        for line in lines
    )


def markdown_text(text: str) -> str:
    """Text in Markdown that cannot start a tag or end a table's cell."""
    clean = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return clean.replace("<", "&lt;")


def terminal_table(records: Sequence[Record]) -> str:
    """What is wrong with the data, then the main table as plain text, chance last."""
    cells = group(records)
    header, rows = main_rows(cells, "*")
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "".join(f"{warning}\n" for warning in warnings_of(records))
    for line in lines:
        first = line[0].ljust(widths[0])
        others = (c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))
        text += "  ".join([first, *others]).rstrip() + "\n"
    if any(cell.below_chance for cell in cells):
        text += "* below chance\n"
    return text


def _entry(cell: ReportCell | None) -> Entry | None:
    if cell is None:
        return None
    spread = DASH.join(map(names.percent, cell.spread)) if cell.spread else ""
    return Entry(
        names.percent(cell.map),
        spread,
        100 * cell.map,
        100 * cell.chance,
        cell.below_chance,
    )


def _plain(entry: Entry | None, mark: str) -> str:
    if entry is None:
        return "-"
    spread = f" ({entry.spread})" if entry.spread else ""
    return entry.text + spread + (f" {mark}" if entry.below_chance else "")


def _chance(cells: Sequence[ReportCell]) -> str:
    values = sorted({names.percent(cell.chance) for cell in cells}, key=float)
    return values[0] if len(values) == 1 else f"{values[0]}{DASH}{values[-1]}"


def _details(cell: ReportCell) -> list[str]:
    def share(key: str) -> str:
        value = mean(cell, key)
        return DASH if value is None else names.percent(value)

    def change(key: str) -> str:
        value = mean(cell, "perturbation", key)
        return DASH if value is None else names.level(value)

    record, seconds = cell.records[0], mean(cell, "seconds")
    attacked, total = record.get("num_attacked"), record.get("num_queries")
    part = f"{attacked:,} of " if attacked and total and attacked < total else ""
    return [
        names.display(names.DEFENSES, cell.defense),
        names.display(names.ATTACKS, cell.attack),
        DASH if cell.budget is None else names.level(cell.budget),
        share("map"),
        _interval(cell),
        *map(share, ("map_all", "map_expected", "t_map", "chance")),
        *map(share, ("ceiling", "bound")),
        *map(change, ("linf", "rmse")),
        share("bits_flipped"),
        f"{part}{total:,}" if total else DASH,
        f"{record['num_database']:,}" if record.get("num_database") else DASH,
        f"{seconds:,.1f}" if seconds is not None else DASH,
    ]


def _interval(cell: ReportCell) -> str:
    """The bootstrap interval over queries, where one seed was measured."""
    interval = cell.records[0].get("map_interval")
    if len(cell.records) > 1 or not interval:
        return DASH
    return DASH.join(map(names.percent, interval))


def _without_empty(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that no row fills."""
    filled = [
        i for i in range(len(header)) if any(r[i] not in ("", DASH) for r in rows)
    ]
    return [header[i] for i in filled], [[row[i] for i in filled] for row in rows]
