"""One chart as SVG, whose colors follow the light or dark page that it is on."""

import io
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE = (5.2, 3.7)  # inches: legible when a phone shows it 360 pixels wide
# Okabe and Ito's colors, told apart by color-blind readers too, darkened to stand out
# from a light page; DARK has the partner of each for a dark one.
DARK = {
    **{"#ffffff": "#171b21", "#5b636e": "#a3acb8", "#e4e7eb": "#2c333d"},
    **{"#1b1f24": "#e9edf2", "#7a828e": "#98a2b0", "#0072b2": "#4aa8e8"},
    **{"#009e73": "#2fc99a", "#b8860b": "#f0c541", "#a0568a": "#e0a0c8"},
    **{"#3f9fd8": "#8fd0f5", "#7a5c2e": "#c9a87a", "#d55e00": "#ff8a3d"},
}
BACKGROUND, FAINT, GRID, *LINES = DARK
INK = LINES[0]
MARKERS = ("o", "X", "s", ">", "^", "v", "P", "<", "D")
STYLE = {
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "figure.facecolor": BACKGROUND,
    "axes.facecolor": BACKGROUND,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.02,
    **{f"axes.spines.{side}": False for side in ("top", "right", "left")},
    **{f"{axis}tick.color": FAINT for axis in "xy"},
    **{f"{axis}tick.major.size": 0 for axis in "xy"},
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.labelcolor": "linecolor",
    "legend.handlelength": 1.5,
    "legend.labelspacing": 0.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "cgat_jax",  # the same bytes for the same chart
}
_NOT_TOLD = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_DARK_RULES = "".join(
    f'[style*="{use}: {color}"]{{{use}:{dark}!important}}'
    for color, dark in DARK.items()
    for use in ("fill", "stroke")
)


class Line(NamedTuple):
    """A line of a chart; several ``ys`` are seeds, drawn as mean and range."""

    label: str
    style: int
    x: Sequence[float]
    ys: tuple[Sequence[float], ...]


class Chart(NamedTuple):
    """What a chart shows; ``level`` is a dashed line, chance."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    level: float | None
    y_range: tuple[float, float] | None


def draw(chart: Chart) -> str:
    """The chart as SVG, its legend in the order in which the lines lie."""
    with rc_context(STYLE):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.set(title=chart.title, xlabel=chart.x_label, ylabel=chart.y_label)
        for line in chart.lines:
            _draw_line(axes, line)
        if chart.level is not None:
            axes.axhline(
                chart.level, color=FAINT, lw=1.4, dashes=(5, 3), label="chance"
            )
        if chart.y_range is not None:
            axes.set_ylim(*chart.y_range)
        handles = sorted(axes.lines, key=lambda line: -np.mean(line.get_ydata()))
        figure.legend(handles=handles, loc="outside right upper")
        labels = ", ".join(line.label for line in chart.lines)
        text = f"{chart.title}: {chart.y_label} by {chart.x_label}; {labels}"
        return svg(figure, text)


def svg(figure: Figure, title: str) -> str:
    """A figure as an SVG element, for a page or a file; ``title`` says what it shows.

    Colors are those of a light page. Where the reader prefers dark pages, rules in the
    element itself replace each by its partner in ``DARK``.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", dpi=160, metadata=_NOT_TOLD)
    start, rest = file.getvalue().split("<svg ", 1)[1].split(">", 1)
    kind = "chart wide" if figure.get_figwidth() > SIZE[0] else "chart"
    rules = f"@media screen and (prefers-color-scheme: dark){{{_DARK_RULES}}}"
    head = f"<title>{escape(title)}</title>\n<style>{rules}</style>"
    return f'<svg class="{kind}" role="img" {start}>\n{head}{rest}'


def _draw_line(axes: Axes, line: Line) -> None:
    """Draws what is finite of a line."""
    x, ys = np.asarray(line.x, float), np.asarray(line.ys, float)
    keep = np.isfinite(x) & np.isfinite(ys).all(axis=0)
    x, ys = x[keep], ys[:, keep]
    if not x.size:
        return
    color = LINES[line.style % len(LINES)]
    axes.plot(
        x,
        ys.mean(axis=0),
        label=line.label,
        color=color,
        linewidth=1.9,
        marker=MARKERS[line.style % len(MARKERS)],
        markersize=5,
        markevery=max(1, x.size // 6),
        markeredgecolor=BACKGROUND,
        markeredgewidth=0.6,
    )
    if len(ys) > 1:
        low, high = ys.min(axis=0), ys.max(axis=0)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
