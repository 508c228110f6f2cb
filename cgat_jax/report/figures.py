"""The curves of a report: training loss, precision at n, precision and recall."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell, column_name
from cgat_jax.report.plotting import DARK, LIGHT, Chart, Line, draw
from cgat_jax.report.records import STAGES, Run

CURVES = {
    "precision": ("precision_at", "n", "images retrieved"),
    "pr": ("pr_curve", "recall", "recall, %"),
}
MOST_POINTS = 120


def charts(runs: Sequence[Run], cells: Sequence[ReportCell]) -> dict[str, Chart]:
    """The charts of a report, by the name of their file."""
    found = {}
    for stage in STAGES:
        chart = _loss_chart(
            stage, [r.metrics[stage] for r in runs if stage in r.metrics]
        )
        if chart is not None:
            found[f"loss_{stage}"] = chart
    for name in CURVES:
        found.update(_retrieval_charts(name, cells))
    found.update(_budget_charts(runs, cells))
    return found


def draw_charts(wanted: dict[str, Chart]) -> dict[str, bytes]:
    """PNG files of each chart, in a light and in a dark version."""
    return {
        f"{name}{theme.suffix}.png": draw(chart, theme)
        for name, chart in wanted.items()
        for theme in (LIGHT, DARK)
    }


def _loss_chart(stage: str, logs: Sequence[Sequence[dict]]) -> Chart | None:
    keys = dict.fromkeys(key for log in logs for entry in log for key in entry)
    keys = [key for key in keys if key == "loss" or key.startswith("loss/")]
    lines = tuple(
        line
        for style, key in enumerate(sorted(keys))
        if (line := _loss_line(key, 8 if key == "loss" else 2 + style, logs))
    )
    if not lines:
        return None
    return Chart(f"Training loss: {stage}", "step", "loss", lines, None, None)


def _loss_line(key: str, style: int, logs: Sequence[Sequence[dict]]) -> Line | None:
    """A loss over the steps that all seeds logged, long ones averaged in bins."""
    series = [
        {float(e["step"]): float(e[key]) for e in log if e.get(key) is not None}
        for log in logs
    ]
    series = [values for values in series if values]
    if not series:
        return None
    steps = sorted(set.intersection(*(set(values) for values in series)))
    if not steps:
        return None
    size = -(-len(steps) // MOST_POINTS)
    ys = tuple(_binned([values[s] for s in steps], size) for values in series)
    label = {"loss": "loss (total)"}.get(key, key.removeprefix("loss/"))
    return Line(label, style, _binned(steps, size), ys)


def _binned(values: Sequence[float], size: int) -> list[float]:
    return [float(np.mean(values[i : i + size])) for i in range(0, len(values), size)]


def _retrieval_charts(
    name: str, cells: Sequence[ReportCell]
) -> Iterator[tuple[str, Chart]]:
    """A chart for each defense, on one scale, so that they compare at a glance."""
    key, x_key, x_label = CURVES[name]
    drawn = [(cell, line) for cell in cells if (line := _line(cell, cells, key, x_key))]
    if not drawn:
        return
    top = max(max(np.nanmax(line.ys) for _, line in drawn), 100 * drawn[0][0].chance)
    y_range = (0.0, min(103.0, float(top) * 1.1 + 1))
    for defense in dict.fromkeys(cell.defense for cell, _ in drawn):
        own = [(cell, line) for cell, line in drawn if cell.defense == defense]
        yield (
            f"{name}_{re.sub('[^A-Za-z0-9]', '-', defense)}",
            Chart(
                title=names.display(names.DEFENSES, defense),
                x_label=x_label,
                y_label="precision, %",
                lines=tuple(line for _, line in own),
                level=100 * own[0][0].chance,
                y_range=y_range,
            ),
        )


def _budget_charts(
    runs: Sequence[Run], cells: Sequence[ReportCell]
) -> Iterator[tuple[str, Chart]]:
    """MAP and flipped bits by the size of the ball, a line a network."""
    entries = [
        e for run in runs for e in run.sanity if (e.get("curve") or {}).get("map")
    ]
    for key, label in (("map", "MAP, %"), ("bits_flipped", "bits flipped, %")):
        lines = []
        for defense in dict.fromkeys(entry["defense"] for entry in entries):
            own = [e["curve"] for e in entries if e["defense"] == defense]
            ys = tuple([100 * value for value in curve[key]] for curve in own)
            x = [255 * size for size in own[0]["epsilon"]]
            style = names.rank(names.DEFENSES, defense)[0] + 2
            lines.append(Line(names.display(names.DEFENSES, defense), style, x, ys))
        if lines:
            level = 100 * cells[0].chance if cells and key == "map" else None
            title, x_label = "CgAT's attack by its budget", "budget, levels of 255"
            yield (
                f"budget_{key}",
                Chart(title, x_label, label, tuple(lines), level, (0.0, 100.0)),
            )


def _line(
    cell: ReportCell, cells: Sequence[ReportCell], key: str, x_key: str
) -> Line | None:
    curves = [record[key] for record in cell.records if record.get(key)]
    curves = [(_floats(curve[x_key]), _floats(curve["precision"])) for curve in curves]
    if not curves or not len(curves[0][0]):
        return None
    x = curves[0][0]
    # Seeds reach different recalls: their curves meet on the first one's.
    ys = [y if np.array_equal(xs, x) else np.interp(x, xs, y) for xs, y in curves]
    if not np.isfinite(ys).any():
        return None
    style = names.rank(names.ATTACKS, cell.attack)[0]
    scale = 100 if x_key == "recall" else 1
    name = column_name((cell.attack, cell.budget), cells)
    return Line(name, style, list(scale * x), tuple(list(100 * y) for y in ys))


def _floats(values: Sequence[float | int | None]) -> np.ndarray:
    return np.asarray([np.nan if v is None else v for v in values], float)
