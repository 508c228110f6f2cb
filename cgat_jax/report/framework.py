"""One image under attack, as the paper's figure 1 tells it, from what runs measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from cgat_jax.report import names
from cgat_jax.report.gallery import MOMENTS, is_whole, read_gallery
from cgat_jax.report.plotting import BACKGROUND, FAINT, GRID, INK, LINES, STYLE, svg

WIDTH, BAND, HEADING = 10.4, 2.5, 0.4  # inches
_RELEVANT, _WRONG = LINES[3], LINES[8]  # green and vermilion
_OPPOSITE = str.maketrans("+-", "-+")
_INKS = {"-": GRID, "0": FAINT, "+": INK, " ": BACKGROUND, "x": _WRONG}
_TEXT = {"x": 0.01, "ha": "left", "color": FAINT, "size": 9}


def framework_picture(title: str, galleries: Mapping[str, Path]) -> str | None:
    """The same query on several networks: images, codes, and what the search answers.

    Of the attacked queries that all galleries hold it takes the one whose average
    precision falls most on the first network.

    Args:
        title: of the picture.
        galleries: folder of CgAT's attack by the name of the network.

    Returns:
        An SVG element; None where no gallery holds a sound query.
    """
    entries = {name: _queries(folder) for name, folder in galleries.items()}
    if not entries or not all(entries.values()):
        return None
    shared = set.intersection(*(set(queries) for queries in entries.values()))
    first = next(iter(entries.values()))
    if not shared:
        return None
    chosen = max(sorted(shared), key=lambda key: _fall(first[key]))
    title = f"{title}: {chosen}, {', '.join(first[chosen]['labels'])}"
    with rc_context(STYLE | {"axes.grid": False, "axes.spines.bottom": False}):
        size = WIDTH, BAND * len(entries) + HEADING
        figure = Figure(size, layout="constrained")
        figure.suptitle(title, **_TEXT | {"color": INK, "size": 11}, weight="bold")
        bands = figure.subfigures(len(entries), squeeze=False)[:, 0]
        for band, (name, queries) in zip(bands, entries.items(), strict=True):
            band.suptitle(name, **_TEXT | {"color": INK, "size": 10}, weight="bold")
            _draw_band(band, galleries[name], queries[chosen])
        for part in figure.findobj(SubFigure):
            part.patch.set_visible(False)  # an edge at 0 is written as 0 or -0
        return svg(figure, title)


def _queries(folder: Path) -> dict[str, dict[str, Any]]:
    """Sound queries of a gallery that have a code to leave, by their id."""
    scored = [f"average_precision_{when}" for when in MOMENTS]
    return {
        query["id"]: query
        for query in read_gallery(folder)[0]
        if (query["codes"] or {}).keys() >= {"clean", "adversarial", "aim"}
        and is_whole(query)
        and all(query[key] is not None for key in scored)
    }


def _fall(query: dict[str, Any]) -> float:
    return query["average_precision_before"] - query["average_precision_after"]


def _draw_band(band: SubFigure, folder: Path, query: dict[str, Any]) -> None:
    """What happens to the query on one network, from left to right."""
    images, codes, answers = band.subfigures(1, 3, width_ratios=(2.6, 2.8, 4.6))
    for axes, kind in zip(images.subplots(1, 2), ("clean", "adversarial"), strict=True):
        _show(axes, folder, query[kind])
        axes.set_title(f"{kind} image", color=FAINT, size=9, weight="normal")
    _draw_codes(codes, query["codes"])
    for row, when in zip(answers.subfigures(2), MOMENTS, strict=True):
        hits, precision = query[when], query[f"average_precision_{when}"]
        right = sum(bool(hit["relevant"]) for hit in hits)
        text = f"{when} the attack: {right} of the first {len(hits)} right, "
        row.suptitle(f"{text}AP {names.percent(precision)}", **_TEXT)
        grid = row.add_gridspec(1, max(8, len(hits)))
        for column, hit in enumerate(hits):
            axes = row.add_subplot(grid[column])
            _show(axes, folder, hit["image"])
            color = _RELEVANT if hit["relevant"] else _WRONG
            axes.spines[:].set(visible=True, color=color, linewidth=2)


def _draw_codes(figure: SubFigure, codes: dict[str, str]) -> None:
    """The codes; marks are below bits that are not the center's."""
    center = codes["aim"].translate(_OPPOSITE)  # the attack moves to its opposite
    strips = {"clean": codes["clean"], "adversarial": codes["adversarial"]}
    strips["center"] = center
    colors = ListedColormap([*_INKS.values()])
    for axes, (name, bits) in zip(figure.subplots(3), strips.items(), strict=True):
        marks = "".join(" x"[a != b] for a, b in zip(bits, center, strict=True))
        rows = [[[*_INKS].index(mark) for mark in row] for row in (marks, bits)]
        edges = range(len(bits) + 1), (0.0, 0.2, 1.0)
        axes.pcolormesh(
            *edges,
            rows,
            cmap=colors,
            vmin=0,
            vmax=len(_INKS) - 1,
            clip_on=False,
            ec="face",
        )
        axes.set(xticks=[], yticks=[])
        apart = f", {marks.count('x')} of {len(bits)} from the center"
        text = f"{name} code" + (apart if name != "center" else "")
        axes.set_title(text, color=FAINT, size=9, weight="normal")


def _show(axes: Axes, folder: Path, name: str) -> None:
    with Image.open(folder / Path(name).name) as image:
        axes.imshow(
            np.asarray(image.convert("RGB")), interpolation="nearest", clip_on=False
        )
    axes.set(xticks=[], yticks=[])
