"""The curves of a report: training, precision at n, precision and recall, budgets."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, column_name
from cgat_jax.report.plotting import Chart, Line, draw
from cgat_jax.report.records import STAGES, Record, Run
from cgat_jax.report.variants import settings_of, title_of

CURVES = {
    "precision": ("precision_at", "n", "images retrieved"),
    "pr": ("pr_curve", "recall", "recall, %"),
}
MOST_POINTS = 120
SMOOTHED = 6  # a smoothed point averages this part of a curve's points
TRAINING_MAP = "map/training"


def charts(runs: Sequence[Run], cells: Sequence[ReportCell]) -> dict[str, str]:
    """The charts of a report as SVG, by the name of their file."""
    settings = settings_of(runs)
    found = dict(_training_charts(settings))
    for name in CURVES:
        found.update(_retrieval_charts(name, cells, together=len(settings) > 1))
    found.update(_budget_charts(runs, cells))
    return {name: draw(chart) for name, chart in found.items()}


def _training_charts(settings: Sequence[Sequence[Run]]) -> Iterator[tuple[str, Chart]]:
    """Losses by stage and setting, those of equal logs once; then MAP, by stage."""
    together = len(settings) > 1
    maps: dict[str, list[Line]] = {}
    for stage in STAGES:
        seen: list[Any] = []
        for number, runs in enumerate(settings):
            logs = [run.metrics[stage] for run in runs if stage in run.metrics]
            alike = [[(e["step"], e.get("loss")) for e in log] for log in logs]
            if not logs or alike in seen:
                continue
            seen.append(alike)
            of, part = stage, stage
            if together:
                of, part = f"{stage}, {title_of(runs)}", f"{stage}_{number}"
            if losses := tuple(_loss_lines(logs)):
                yield (
                    f"loss_{part}",
                    Chart(f"Training loss: {of}", "step", "loss", losses, None, None),
                )
            own = maps.setdefault(f": {stage}" if together else "", [])
            own += _map_lines(logs, title_of(runs) if together else stage, len(own))
    for which, lines in maps.items():
        if lines:
            title, y_range = f"MAP among training images{which}", (0.0, 103.0)
            chart = Chart(title, "epoch", "MAP, %", tuple(lines), None, y_range)
            yield "training_map" + which.replace(": ", "_"), chart


def _series(logs: Sequence[Sequence[Record]], x: str, key: str) -> pd.DataFrame:
    """A logged number of each seed, at the ``x`` that all of them have."""
    columns = [
        pd.Series(
            {e[x]: e[key] for e in log if None not in (e.get(x), e.get(key))},
            dtype=float,
        )
        for log in logs
    ]
    columns = [column for column in columns if len(column)]
    if not columns:
        return pd.DataFrame()
    return pd.concat(columns, axis=1, join="inner").sort_index()


def _map_lines(logs, label: str, number: int) -> Iterator[Line]:
    table = 100 * _series(logs, "epoch", TRAINING_MAP)
    if len(table):
        ys = tuple(table[column].tolist() for column in table)
        yield Line(label, number + 2, table.index.tolist(), ys)


def _loss_lines(logs: Sequence[Sequence[Record]]) -> Iterator[Line]:
    """Smoothed losses over the steps that all seeds logged, long ones in bins."""
    keys = {k for log in logs for e in log for k in e if re.match("loss(/|$)", k)}
    for style, key in enumerate(sorted(keys), start=2):
        table = _series(logs, "step", key)
        if not len(table):
            continue
        table = _without_stub(table).reset_index()
        bins = table.index // max(1, -(-len(table) // MOST_POINTS))
        x, *ys = table.groupby(bins).mean().to_numpy().T
        width = max(1, len(x) // SMOOTHED) // 2 * 2 + 1
        means = pd.DataFrame(ys).T.rolling(width, center=True, min_periods=1).mean()
        smooth = tuple(means[column].tolist() for column in means)
        raw = np.mean(ys, axis=0).tolist() if width > 1 else None
        if key == "loss":
            yield Line("loss (total)", 8, x.tolist(), smooth, raw)
        else:
            yield Line(key.removeprefix("loss/"), style, x.tolist(), smooth, raw)


def _without_stub(table: pd.DataFrame) -> pd.DataFrame:
    """Means by step; a last one of few steps is merged with the one before it.

    A point is the mean since the point before it. The last step of a stage is logged
    whenever it comes, so that its point may be of a few steps, and as uneven as these.
    """
    spans = np.diff(table.index.to_numpy(), prepend=0)
    if len(table) < 3 or spans[-1] * 2 >= np.median(spans):
        return table
    merged = np.average(table.to_numpy()[-2:], axis=0, weights=spans[-2:])
    kept = table.drop(table.index[-2])
    kept.iloc[-1] = merged
    return kept


def _retrieval_charts(
    name: str, cells: Sequence[ReportCell], *, together: bool
) -> Iterator[tuple[str, Chart]]:
    """A chart for each network, or for each attack, all on one scale.

    A chart of a network has a line an attack; where networks of several settings are
    put side by side, a chart of an attack has a line a network.
    """
    key, x_key, x_label = CURVES[name]
    networks = list(dict.fromkeys(cell.network for cell in cells))

    def attack(cell: ReportCell) -> tuple[str, int]:
        style = names.rank(names.ATTACKS, cell.attack)[0]
        return column_name((cell.attack, cell.budget), cells), style

    def network(cell: ReportCell) -> tuple[str, int]:
        return cell.network, networks.index(cell.network) + 2

    of, line_of = (attack, network) if together else (network, attack)
    drawn = [(c, line) for c in cells if (line := _line(c, line_of, key, x_key))]
    if not drawn:
        return
    level = 100 * drawn[0][0].chance
    top = max(level, *(float(np.nanmax(line.ys)) for _, line in drawn))
    y_range = (0.0, min(103.0, top * 1.1 + 1))
    for title in dict.fromkeys(of(cell)[0] for cell, _ in drawn):
        own = [cell for cell, _ in drawn if of(cell)[0] == title]
        lines = tuple(line for cell, line in drawn if of(cell)[0] == title)
        chart = Chart(title, x_label, "precision, %", lines, level, y_range)
        yield f"{name}_{_file_name(own[0], together)}", chart


def _file_name(cell: ReportCell, together: bool) -> str:
    """A part of a file's name, of what a chart is about."""
    budget = "" if cell.budget is None else f"-{names.level(cell.budget)}"
    text = cell.attack + budget if together else cell.defense
    return re.sub("[^A-Za-z0-9]", "-", text)


def _line(
    cell: ReportCell,
    line_of: Callable[[ReportCell], tuple[str, int]],
    key: str,
    x_key: str,
) -> Line | None:
    curves = [record[key] for record in cell.records if record.get(key)]
    if not curves or not curves[0][x_key]:
        return None
    x = np.array(curves[0][x_key], float)
    # Seeds reach different recalls: their curves meet on the first one's.
    ys = [
        y if list(c[x_key]) == list(x) else np.interp(x, c[x_key], y)
        for c in curves
        for y in [np.array(c["precision"], float)]
    ]
    if not np.isfinite(ys).any():
        return None
    scale, (label, style) = 100 if x_key == "recall" else 1, line_of(cell)
    return Line(label, style, list(scale * x), tuple(list(100 * y) for y in ys))


def _budget_charts(
    runs: Sequence[Run], cells: Sequence[ReportCell]
) -> Iterator[tuple[str, Chart]]:
    """MAP and flipped bits by the size of the ball, a line a network."""
    curves: dict[str, list[dict]] = {}
    for entry in (entry for run in runs for entry in run.sanity):
        if (entry.get("curve") or {}).get("map"):
            curves.setdefault(names.network(entry), []).append(entry["curve"])
    networks = list(dict.fromkeys([*(cell.network for cell in cells), *curves]))
    for key, label in (("map", "MAP"), ("bits_flipped", "bits flipped")):
        lines, ticks = [], set()
        for network, own in curves.items():
            ys = tuple([100 * value for value in curve[key]] for curve in own)
            x = [round(255.0 * size, 2) for size in own[0]["epsilon"]]
            ticks |= set(x)
            lines.append(Line(network, networks.index(network) + 2, x, ys))
        if lines:
            level = 100 * cells[0].chance if cells and key == "map" else None
            title, axes = f"{label} by budget", ("budget, levels of 255", f"{label}, %")
            shown = tuple(lines), level, (0.0, 100.0), sorted(ticks)
            yield f"budget_{key}", Chart(title[:1].upper() + title[1:], *axes, *shown)
