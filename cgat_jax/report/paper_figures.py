"""The figures of the paper, drawn from what was measured."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cgat_jax.report import names
from cgat_jax.report.framework import framework_picture
from cgat_jax.report.plotting import DARK, LIGHT, Chart, Line, Picture, draw
from cgat_jax.report.records import Record
from cgat_jax.report.study import Study, run_folder
from cgat_jax.reproduce import TITLES, Cell, curve_of, folder_of

CAPTIONS = {
    1: "Of the first attacked queries, the one whose average precision falls most "
    "without a defense; answers that share a label with it are framed in green.",
}


def pictures_of(
    figure: int,
    records: Mapping[Cell, list[Record]],
    found: Mapping[str, Study],
    root: Path,
) -> dict[str, Picture]:
    """The pictures of a figure, one a data set, where something has been measured.

    Args:
        figure: 1 to 6.
        records: of its cells.
        found: the studies whose runs they are.
        root: the folder of the runs.
    """
    pictures = {}
    for dataset in dict.fromkeys(cell.dataset for cell in records):
        own = {c: r for c, r in records.items() if r and c.dataset == dataset}
        if own:
            drawn = _picture(figure, own, found[dataset], folder_of(root, dataset))
            if drawn is not None:
                pictures[f"figure{figure}_{dataset}"] = drawn
    return pictures


def _picture(
    figure: int, records: Mapping[Cell, list[Record]], study: Study, folder: Path
) -> Picture | None:
    if figure == 1:
        galleries = {
            names.display(names.DEFENSES, cell.defense): folder
            / run_folder(study, cell.row, study.seeds[0])
            / f"evaluate/{cell.defense}-{cell.attack}"
            for cell in records
            if cell.attack != "clean"
        }
        return framework_picture(TITLES[next(iter(records)).dataset], galleries)
    chart = _sweep(records) if figure == 6 else _curves(figure, records)
    return Picture(chart.title, draw(chart, LIGHT), draw(chart, DARK))


def _curves(figure: int, records: Mapping[Cell, list[Record]]) -> Chart:
    key, attack = curve_of(figure)
    x_key, x_label = {
        "pr_curve": ("recall", "recall, %"),
        "precision_at": ("n", "images retrieved"),
    }[key]
    lines = []
    for cell, found in records.items():
        x = np.asarray(found[0][key][x_key], float) * (100 if x_key == "recall" else 1)
        ys = tuple([100 * (y or 0) for y in r[key]["precision"]] for r in found)
        ys = tuple(y for y in ys if len(y) == len(x))
        label = names.display(names.DEFENSES, cell.defense)
        label += ", clean" if cell.attack == "clean" else ""
        lines.append(Line(label, len(lines) + 2, list(x), ys))
    first = next(iter(records))
    title = f"{TITLES[first.dataset]}: {names.display(names.ATTACKS, attack)}"
    level = 100 * records[first][0]["chance"]
    return Chart(title, x_label, "precision, %", tuple(lines), level, (0.0, 103.0))


def _sweep(records: Mapping[Cell, list[Record]]) -> Chart:
    """MAP by lambda, a line an attack, at the lambdas that have been measured."""
    lines = []
    for attack in dict.fromkeys(cell.attack for cell in records):
        own = {c: found for c, found in records.items() if c.attack == attack}
        seeds = min(len(found) for found in own.values())
        ys = tuple([100 * f[i]["map"] for f in own.values()] for i in range(seeds))
        label, style = names.display(names.ATTACKS, attack), len(lines)
        lines.append(Line(label, style, [float(c.weight) for c in own], ys))
    first = next(iter(records))
    level = 100 * records[first][0]["chance"]
    title = f"{TITLES[first.dataset]}: CgAT by lambda"
    return Chart(title, "lambda", "MAP, %", tuple(lines), level, (0.0, 103.0))
