"""The curves of a report: training loss, precision at n, precision and recall."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, column_name
from cgat_jax.report.plotting import Chart, Line, draw
from cgat_jax.report.records import STAGES, Run

CURVES = {
    "precision": ("precision_at", "n", "images retrieved"),
    "pr": ("pr_curve", "recall", "recall, %"),
}
MOST_POINTS = 120


def charts(runs: Sequence[Run], cells: Sequence[ReportCell]) -> dict[str, str]:
    """The charts of a report as SVG, by the name of their file."""
    found = {}
    for stage in STAGES:
        logs = [run.metrics[stage] for run in runs if stage in run.metrics]
        if lines := tuple(_loss_lines(logs)):
            title = f"Training loss: {stage}"
            found[f"loss_{stage}"] = Chart(title, "step", "loss", lines, None, None)
    for name in CURVES:
        found.update(_retrieval_charts(name, cells))
    found.update(_budget_charts(runs, cells))
    return {name: draw(chart) for name, chart in found.items()}


def _loss_lines(logs: Sequence[Sequence[dict]]) -> Iterator[Line]:
    """Losses over the steps that all seeds logged, long ones averaged in bins."""
    frames = [pd.DataFrame(log).set_index("step") for log in logs]
    keys = {key for frame in frames for key in frame if re.match("loss(/|$)", key)}
    for style, key in enumerate(sorted(keys), start=2):
        seeds = [frame[key].astype(float).dropna() for frame in frames if key in frame]
        seeds = [seed for seed in seeds if len(seed)]
        if not seeds:
            continue
        table = pd.concat(seeds, axis=1, join="inner").sort_index().reset_index()
        bins = table.index // max(1, -(-len(table) // MOST_POINTS))
        x, *ys = table.groupby(bins).mean().to_numpy().T.tolist()
        if x and key == "loss":
            yield Line("loss (total)", 8, x, tuple(ys))
        elif x:
            yield Line(key.removeprefix("loss/"), style, x, tuple(ys))


def _retrieval_charts(
    name: str, cells: Sequence[ReportCell]
) -> Iterator[tuple[str, Chart]]:
    """A chart for each defense, on one scale, so that they compare at a glance."""
    key, x_key, x_label = CURVES[name]
    drawn = [(cell, line) for cell in cells if (line := _line(cell, cells, key, x_key))]
    if not drawn:
        return
    level = 100 * drawn[0][0].chance
    top = max(level, *(float(np.nanmax(line.ys)) for _, line in drawn))
    y_range = (0.0, min(103.0, top * 1.1 + 1))
    for defense in dict.fromkeys(cell.defense for cell, _ in drawn):
        title = names.display(names.DEFENSES, defense)
        lines = tuple(line for cell, line in drawn if cell.defense == defense)
        chart = Chart(title, x_label, "precision, %", lines, level, y_range)
        yield f"{name}_{re.sub('[^A-Za-z0-9]', '-', defense)}", chart


def _line(
    cell: ReportCell, cells: Sequence[ReportCell], key: str, x_key: str
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
    style = names.rank(names.ATTACKS, cell.attack)[0]
    scale = 100 if x_key == "recall" else 1
    name = column_name((cell.attack, cell.budget), cells)
    return Line(name, style, list(scale * x), tuple(list(100 * y) for y in ys))


def _budget_charts(
    runs: Sequence[Run], cells: Sequence[ReportCell]
) -> Iterator[tuple[str, Chart]]:
    """MAP and flipped bits by the size of the ball, a line a network."""
    curves: dict[str, list[dict]] = {}
    for entry in (entry for run in runs for entry in run.sanity):
        if (entry.get("curve") or {}).get("map"):
            curves.setdefault(entry["defense"], []).append(entry["curve"])
    for key, label in (("map", "MAP, %"), ("bits_flipped", "bits flipped, %")):
        lines = []
        for defense, own in curves.items():
            ys = tuple([100 * value for value in curve[key]] for curve in own)
            x = [255 * size for size in own[0]["epsilon"]]
            style = names.rank(names.DEFENSES, defense)[0] + 2
            lines.append(Line(names.display(names.DEFENSES, defense), style, x, ys))
        if lines:
            level = 100 * cells[0].chance if cells and key == "map" else None
            title, x_label = "CgAT's attack by its budget", "budget, levels of 255"
            chart = Chart(title, x_label, label, tuple(lines), level, (0.0, 100.0))
            yield f"budget_{key}", chart
