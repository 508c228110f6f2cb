"""The figures of the paper, drawn from what was measured."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.figures import CURVES
from cgat_jax.report.framework import framework_picture
from cgat_jax.report.gallery import read_gallery
from cgat_jax.report.plotting import Chart, Line, draw
from cgat_jax.report.records import Record
from cgat_jax.reproduction.paper_cells import TITLES, PaperCell, curve_of, folder_of
from cgat_jax.reproduction.study import Study, run_folder

CAPTIONS = {
    1: "Of the first attacked queries, the one whose average precision falls most "
    "without a defense; answers that share a label with it are framed in green.",
}


def pictures_of(
    figure: int,
    records: Mapping[PaperCell, list[Record]],
    found: Mapping[str, Study],
    root: Path,
) -> tuple[dict[str, str], list[str]]:
    """The pictures of a figure, one a data set, where something has been measured.

    Args:
        figure: 1 to 6.
        records: of its cells.
        found: the studies whose runs they are.
        root: the folder of the runs.

    Returns:
        The pictures as SVG by name, and a sentence on each thing that is left out.
    """
    pictures: dict[str, str] = {}
    notes: list[str] = []
    for dataset in dict.fromkeys(cell.dataset for cell in records):
        own = {c: r for c, r in records.items() if r and c.dataset == dataset}
        if own:
            folder = folder_of(root, dataset)
            drawn = _picture(figure, own, found[dataset], folder, notes)
            if drawn is not None:
                pictures[f"figure{figure}_{dataset}"] = drawn
    return pictures, notes


def _picture(
    figure: int,
    records: Mapping[PaperCell, list[Record]],
    study: Study,
    folder: Path,
    notes: list[str],
) -> str | None:
    if figure == 1:
        galleries = {
            names.display(names.DEFENSES, cell.defense): folder
            / run_folder(study, cell.row, study.seeds[0])
            / f"evaluate/{cell.defense}-{cell.attack}"
            for cell in records
            if cell.attack != "clean"
        }
        for place in galleries.values():
            notes += [f"{place / text}." for text in read_gallery(place)[1]]
        return framework_picture(TITLES[next(iter(records)).dataset], galleries)
    chart = _sweep(records, notes) if figure == 6 else _curves(figure, records, notes)
    return draw(chart)


def _curves(
    figure: int, records: Mapping[PaperCell, list[Record]], notes: list[str]
) -> Chart:
    wanted, attack = curve_of(figure)
    key, x_key, x_label = next(c for c in CURVES.values() if c[0] == wanted)
    first = next(iter(records))
    title = f"{TITLES[first.dataset]}: {names.display(names.ATTACKS, attack)}"
    lines = []
    for cell, found in records.items():
        label = names.display(names.DEFENSES, cell.defense)
        label += ", clean" if cell.attack == "clean" else ""
        curves = {record["seed"]: record.get(key) or {} for record in found}
        x = max((curve.get(x_key) or [] for curve in curves.values()), key=len)
        ys = []
        for seed, curve in curves.items():
            if x and curve.get(x_key) == x:
                ys.append([_percent(y) for y in curve["precision"]])
            else:
                notes.append(_left_out(title, label, seed, "points of the curve"))
        if ys:
            scale = 100 if x_key == "recall" else 1
            xs = [scale * value for value in x]
            lines.append(Line(label, len(lines) + 2, xs, tuple(ys)))
    level = 100 * records[first][0]["chance"]
    return Chart(title, x_label, "precision, %", tuple(lines), level, (0.0, 103.0))


def _sweep(records: Mapping[PaperCell, list[Record]], notes: list[str]) -> Chart:
    """MAP by lambda, a line an attack, at the lambdas that have been measured.

    A line of a seed goes through all of them; a seed that lacks one is left out.
    """
    first = next(iter(records))
    title, lines = f"{TITLES[first.dataset]}: CgAT by lambda", []
    for attack in dict.fromkeys(cell.attack for cell in records):
        maps = {
            float(cell.weight): {record["seed"]: 100 * record["map"] for record in own}
            for cell, own in records.items()
            if cell.attack == attack
        }
        label, ys = names.display(names.ATTACKS, attack), []
        for seed, row in pd.DataFrame(maps).sort_index().iterrows():
            if row.hasnans:
                lacking = ", ".join(f"{weight:g}" for weight in row.index[row.isna()])
                notes.append(_left_out(title, label, seed, f"lambda {lacking}"))
            else:
                ys.append(row.tolist())
        if ys:
            lines.append(Line(label, len(lines), list(maps), tuple(ys)))
    level = 100 * records[first][0]["chance"]
    return Chart(title, "lambda", "MAP, %", tuple(lines), level, (0.0, 103.0))


def _percent(value: float | None) -> float:
    return float("nan") if value is None else 100 * value


def _left_out(title: str, label: str, seed: int, lacking: str) -> str:
    return f"{title}, {label}: seed {seed} is left out, it lacks {lacking}."
