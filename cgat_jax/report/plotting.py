"""One chart as SVG, whose colors follow the light or dark page that it is on."""

import io
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

SIZE = (5.2, 3.7)  # inches: legible when a phone shows it 360 pixels wide
_BESIDE, _WIDEST = 30, 62  # letters of a label beside the axes, and below them
_LINE_HEIGHT = 0.2  # inches
# Okabe and Ito's colors, told apart by color-blind readers too, darkened to stand out
# from a light page; DARK has the partner of each for a dark one, and VARIABLES what
# both are called in the style of a page.
DARK = {
    **{"#ffffff": "#171b21", "#5b636e": "#a3acb8", "#e0e4e9": "#2c333d"},
    **{"#1b1f24": "#e9edf2", "#7a828e": "#98a2b0", "#0072b2": "#4aa8e8"},
    **{"#009e73": "#2fc99a", "#b8860b": "#f0c541", "#a0568a": "#e0a0c8"},
    **{"#2b8cc4": "#8fd0f5", "#7a5c2e": "#c9a87a", "#d55e00": "#ff8a3d"},
}
BACKGROUND, FAINT, GRID, *LINES = DARK
VARIABLES = dict(
    zip(
        DARK,
        ["card", "faint", "line", "ink", *(f"chart-{n}" for n in range(1, 9))],
        strict=True,
    )
)
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
    "legend.labelcolor": INK,
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
    """A line of a chart; several ``ys`` are seeds, drawn as mean and range.

    ``raw`` is what the line was smoothed from, drawn faintly behind it; ``names`` are
    written beside its points.
    """

    label: str
    style: int
    x: Sequence[float]
    ys: tuple[Sequence[float], ...]
    raw: Sequence[float] | None = None
    names: Sequence[str] = ()


class Chart(NamedTuple):
    """What a chart shows; ``level`` is a dashed line, chance.

    ``ticks`` of the x axis are at distances of their logarithms, where they have any.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    level: float | None
    y_range: tuple[float, float] | None
    ticks: Sequence[float] = ()


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
        if len(chart.ticks):
            _set_ticks(axes, chart.ticks)
        shown = (line for line in axes.lines if not line.get_label().startswith("_"))
        handles = sorted(shown, key=lambda line: -np.mean(line.get_ydata()))
        _add_legend(figure, handles)
        labels = ", ".join(line.label for line in chart.lines)
        text = f"{chart.title}: {chart.y_label} by {chart.x_label}; {labels}"
        return svg(figure, text)


def _add_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Beside the axes, or below them where labels would leave no room."""
    labels = [textwrap.fill(line.get_label(), _WIDEST) for line in handles]
    if max(map(len, labels), default=0) <= _BESIDE:
        figure.legend(handles, labels, loc="outside right upper")
        return
    lines = sum(label.count("\n") + 1 for label in labels)
    figure.set_figheight(SIZE[1] + _LINE_HEIGHT * lines)
    figure.legend(handles, labels, loc="outside lower left")


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


def for_page(picture: str, name: str) -> str:
    """A picture of ``svg`` for the inside of a page, whose colors it takes.

    Colors become the page's variables. ``name`` keeps apart the ids of pictures on one
    page; those that nothing refers to are dropped.
    """
    text = re.sub("<style>@media.*?</style>", "", picture, count=1)
    used = set(re.findall(r'["(]#([^")]+)', text))

    def renamed(found: re.Match) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    text = re.sub(r' id="([^"]+)"', renamed, text)
    text = re.sub(r'(["(])#', rf"\1#{name}-", text)
    for color, variable in VARIABLES.items():
        text = re.sub(f"(fill|stroke): {color}", rf"\1: var(--{variable})", text)
    return text


def _set_ticks(axes: Axes, ticks: Sequence[float]) -> None:
    if min(ticks) > 0:
        axes.set_xscale("log", base=2)
    axes.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _draw_line(axes: Axes, line: Line) -> None:
    """Draws what is finite of a line."""
    x, ys = np.asarray(line.x, float), np.asarray(line.ys, float)
    keep = np.isfinite(x) & np.isfinite(ys).all(axis=0)
    x, ys = x[keep], ys[:, keep]
    if not x.size:
        return
    color = LINES[line.style % len(LINES)]
    if line.raw is not None:
        raw = np.asarray(line.raw, float)[keep]
        axes.plot(x, raw, color=color, linewidth=1, alpha=0.3, label="_raw")
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
    if line.names:
        places = zip(x, ys.mean(axis=0), strict=True)
        for name, place in zip(np.compress(keep, line.names), places, strict=True):
            axes.annotate(
                name,
                place,
                (5, 4),
                textcoords="offset points",
                color=color,
                fontsize=8,
            )
    if len(ys) > 1:
        low, high = ys.min(axis=0), ys.max(axis=0)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
