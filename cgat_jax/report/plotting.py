"""One chart: a light and a dark theme, labels at the ends of the lines, PNG bytes."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SIZE = (5.2, 3.7)  # inches: legible when a phone shows it 360 pixels wide
DPI = 160
LABEL_GAP = 0.075  # of the height of the axes


class Theme(NamedTuple):
    """Colors of a chart; ``lines`` are told apart by color-blind readers too."""

    suffix: str
    background: str
    ink: str
    faint: str
    grid: str
    lines: tuple[str, ...]


# Okabe and Ito's colors, darkened or lightened to stand out from the background.
LIGHT = Theme(
    suffix="",
    background="#ffffff",
    ink="#1b1f24",
    faint="#5b636e",
    grid="#e4e7eb",
    lines=(
        *("#1b1f24", "#7a828e", "#0072b2", "#009e73", "#b8860b"),
        *("#a0568a", "#3f9fd8", "#7a5c2e", "#d55e00"),
    ),
)
DARK = Theme(
    suffix="_dark",
    background="#171b21",
    ink="#e9edf2",
    faint="#a3acb8",
    grid="#2c333d",
    lines=(
        *("#e9edf2", "#98a2b0", "#4aa8e8", "#2fc99a", "#f0c541"),
        *("#e0a0c8", "#8fd0f5", "#c9a87a", "#ff8a3d"),
    ),
)
MARKERS = ("o", "X", "s", ">", "^", "v", "P", "<", "D")


class Line(NamedTuple):
    """A line of a chart; several ``ys`` are seeds, drawn as mean and range."""

    label: str
    style: int
    x: Sequence[float]
    ys: tuple[Sequence[float], ...]


class End(NamedTuple):
    """Where a line ends and how high it is on average, to place its label."""

    label: str
    color: str
    marker: str
    x: float
    y: float
    average: float


class Chart(NamedTuple):
    """What a chart shows; ``level`` is a dashed line, chance."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    level: float | None
    y_range: tuple[float, float] | None


class Picture(NamedTuple):
    """A drawing as PNG files for light and dark pages; ``title`` says what it shows."""

    title: str
    light: bytes
    dark: bytes


def draw(chart: Chart, theme: Theme) -> bytes:
    """The chart as PNG; the same bytes for the same chart."""
    with rc_context({"font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure(figsize=SIZE, dpi=DPI, facecolor=theme.background)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.125, 0.15, 0.575, 0.73))
        _dress(axes, chart, theme)
        ends = [_draw_line(axes, line, theme) for line in chart.lines]
        # Labels are placed by the limits, which matplotlib settles only when drawing.
        axes.autoscale_view()
        if chart.level is not None:
            axes.axhline(chart.level, color=theme.faint, linewidth=1.4, dashes=(5, 3))
            edge = axes.get_xlim()[1]
            level = float(chart.level)
            ends.append(End("chance", theme.faint, "_", float(edge), level, level))
        _label_ends(axes, [end for end in ends if end is not None])
        return png(canvas)


def describe(chart: Chart) -> str:
    """What a chart shows, for those who do not see it."""
    lines = ", ".join(line.label for line in chart.lines)
    return f"{chart.title}: {chart.y_label} by {chart.x_label}; {lines}"


def png(canvas: FigureCanvasAgg) -> bytes:
    """A drawn figure as PNG."""
    buffer = io.BytesIO()
    # Without a software line the bytes do not depend on matplotlib's version.
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _dress(axes: Axes, chart: Chart, theme: Theme) -> None:
    axes.set_facecolor(theme.background)
    axes.set_title(chart.title, loc="left", color=theme.ink, fontweight="bold", size=11)
    axes.set_xlabel(chart.x_label, color=theme.faint)
    axes.set_ylabel(chart.y_label, color=theme.faint)
    axes.tick_params(colors=theme.faint, length=0)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.faint)
    if chart.y_range is not None:
        axes.set_ylim(*chart.y_range)
    axes.margins(x=0.02)


def _draw_line(axes: Axes, line: Line, theme: Theme) -> End | None:
    """Draws a line; returns where it ends, for its label."""
    x, ys = np.asarray(line.x, float), np.asarray(line.ys, float)
    keep = np.isfinite(x) & np.isfinite(ys).all(axis=0)
    x, ys = x[keep], ys[:, keep]
    if not x.size:
        return None
    color = theme.lines[line.style % len(theme.lines)]
    marker, average = MARKERS[line.style % len(MARKERS)], ys.mean(axis=0)
    axes.plot(
        x,
        average,
        color=color,
        linewidth=1.9,
        marker=marker,
        markersize=5,
        markevery=max(1, x.size // 6),
        markeredgecolor=theme.background,
        markeredgewidth=0.6,
    )
    if len(ys) > 1:
        low, high = ys.min(axis=0), ys.max(axis=0)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    last = int(np.argmax(x))
    height = float(average.mean())
    return End(line.label, color, marker, float(x[last]), float(average[last]), height)


def _label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Writes labels right of the axes, moved apart, each tied to its line's end."""
    to_axes = axes.transAxes.inverted()
    points = [
        to_axes.transform(axes.transData.transform((end.x, end.y))) for end in ends
    ]
    # Lines that end together, as in precision and recall, are told apart before.
    order = sorted(
        range(len(ends)), key=lambda i: (round(points[i][1], 2), ends[i].average)
    )
    heights = spread([float(points[i][1]) for i in order])
    for i, height in zip(order, heights, strict=True):
        _label(axes, ends[i], tuple(points[i]), height)


def _label(axes: Axes, end: End, point: tuple, height: float) -> None:
    """Marker and name at a height, with a line to the end that they stand for."""
    outside = {"transform": axes.transAxes, "color": end.color, "clip_on": False}
    x = [point[0] + 0.01, 1.06]
    axes.plot(x, [point[1], height], linewidth=0.7, alpha=0.7, **outside)
    axes.plot([1.085], [height], end.marker, markersize=6, **outside)
    axes.text(1.125, height, end.label, va="center", size=10, **outside)


def spread(heights: list[float], gap: float = LABEL_GAP) -> list[float]:
    """Sorted heights moved apart to at least ``gap``, as little as possible.

    Less its place in the row, each height must not fall below the one before it: an
    isotonic regression, by pooling neighbors that violate it. Then all stay in [0, 1],
    if there is room.
    """
    pools: list[tuple[float, int]] = []
    for i, height in enumerate(heights):
        pools.append((height - i * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, n), (high, m) = pools[-2:]
            pools[-2:] = [((low * n + high * m) / (n + m), n + m)]
    bases = [base for base, count in pools for _ in range(count)]
    top = 1.0 - (len(heights) - 1) * gap
    return [max(0.0, min(base, top)) + i * gap for i, base in enumerate(bases)]
