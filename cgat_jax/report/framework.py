"""One image under attack, as the paper's figure 1 tells it, from what runs measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

from cgat_jax.report import names
from cgat_jax.report.gallery_files import is_whole, read_gallery
from cgat_jax.report.plotting import DARK, DPI, LIGHT, Picture, Theme, png

WIDTH, BAND, HEADING = 10.4, 2.45, 0.5  # inches
_RELEVANT, _WRONG = 3, 8  # of a theme's line colors: green and vermilion
_OPPOSITE = str.maketrans("+-", "-+")


def framework_picture(title: str, galleries: Mapping[str, Path]) -> Picture | None:
    """The same query on several networks: images, codes, and what the search answers.

    Of the attacked queries that all galleries hold it takes the one whose average
    precision falls most on the first network.

    Args:
        title: of the picture.
        galleries: folder of CgAT's attack by the name of the network.

    Returns:
        None where no gallery holds a sound query.
    """
    entries = {name: _queries(folder) for name, folder in galleries.items()}
    if not entries or not all(entries.values()):
        return None
    shared = set.intersection(*(set(queries) for queries in entries.values()))
    first = next(iter(entries.values()))
    if not shared:
        return None
    chosen = max(sorted(shared), key=lambda key: _fall(first[key]))
    bands = {
        name: (galleries[name], queries[chosen]) for name, queries in entries.items()
    }
    title = f"{title}: {chosen}, {', '.join(first[chosen]['labels'])}"
    return Picture(title, _draw(title, bands, LIGHT), _draw(title, bands, DARK))


def _queries(folder: Path) -> dict[str, dict[str, Any]]:
    """Sound queries of a gallery that have a code to leave, by their id."""
    scored = ("average_precision_before", "average_precision_after")
    return {
        query["id"]: query
        for query in read_gallery(folder)[0]
        if (query.get("codes") or {}).keys() >= {"clean", "adversarial", "aim"}
        and is_whole(query)
        and all(query[key] is not None for key in scored)
    }


def _fall(query: dict[str, Any]) -> float:
    return query["average_precision_before"] - query["average_precision_after"]


def _draw(title: str, bands: Mapping[str, tuple[Path, dict]], theme: Theme) -> bytes:
    height = BAND * len(bands) + HEADING
    with rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure((WIDTH, height), dpi=DPI, facecolor=theme.background)
        canvas = FigureCanvasAgg(figure)
        _write(figure, 0.2, height - 0.25, title, theme.ink, weight="bold", size=11)
        for row, (name, (folder, query)) in enumerate(bands.items()):
            base = height - HEADING - BAND * (row + 1) + 0.15
            _write(figure, 0.2, base + 2.22, name, theme.ink, weight="bold", size=10)
            _draw_images(figure, base, folder, query, theme)
            _draw_codes(figure, base, query["codes"], theme)
            _draw_answers(figure, base, folder, query, theme)
        return png(canvas)


def _draw_images(figure, base: float, folder: Path, query, theme: Theme) -> None:
    for column, kind in enumerate(("clean", "adversarial")):
        left = 0.2 + 1.35 * column
        axes = _axes(figure, left, base + 0.55, 1.25, 1.25)
        axes.imshow(_pixels(folder, query[kind]), interpolation="nearest")
        _write(figure, left, base + 1.97, f"{kind} image", theme.faint)


def _draw_codes(figure, base: float, codes: dict[str, str], theme: Theme) -> None:
    """The codes; marks are below bits that are not the center's."""
    center = codes["aim"].translate(_OPPOSITE)  # the attack moves to its opposite
    strips = {"clean": codes["clean"], "adversarial": codes["adversarial"]}
    colors = ListedColormap([theme.grid, theme.faint, theme.ink])
    for row, (name, bits) in enumerate((strips | {"center": center}).items()):
        level = base + 1.55 - 0.5 * row
        signs = [["-0+".index(bit) for bit in bits]]
        axes = _axes(figure, 3.1, level, 2.5, 0.2)
        axes.imshow(signs, cmap=colors, vmin=0, vmax=2, aspect="auto")
        text = f"{name} code"
        if name != "center":
            apart = [[a != b for a, b in zip(bits, center, strict=True)]]
            marks = ListedColormap([theme.background, theme.lines[_WRONG]])
            axes = _axes(figure, 3.1, level - 0.07, 2.5, 0.04)
            axes.imshow(apart, cmap=marks, vmin=0, vmax=1, aspect="auto")
            text += f", {sum(apart[0])} of {len(bits)} from the center"
        _write(figure, 3.1, level + 0.32, text, theme.faint)


def _draw_answers(figure, base: float, folder: Path, query, theme: Theme) -> None:
    """What each code retrieves first, framed by whether it shares a label."""
    for row, moment in enumerate(("before", "after")):
        level = base + 1.22 - 1.02 * row
        precision = names.percent(query[f"average_precision_{moment}"])
        hits = query[moment]
        right = sum(bool(hit.get("relevant")) for hit in hits)
        text = f"{moment} the attack: {right} of the first {len(hits)} right, "
        _write(figure, 5.9, level + 0.75, f"{text}AP {precision}", theme.faint)
        for column, hit in enumerate(hits):
            axes = _axes(figure, 5.9 + 0.55 * column, level + 0.1, 0.5, 0.5)
            axes.imshow(_pixels(folder, hit["image"]), interpolation="nearest")
            color = theme.lines[_RELEVANT if hit.get("relevant") else _WRONG]
            for spine in axes.spines.values():
                spine.set(visible=True, color=color, linewidth=2)


def _axes(figure: Figure, left: float, bottom: float, wide: float, high: float) -> Axes:
    """Axes without ticks or frame at a place in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _write(figure: Figure, left: float, middle: float, text: str, color, **font):
    width, height = figure.get_size_inches()
    place = left / width, middle / height
    figure.text(*place, text, color=color, va="center", **font)


def _pixels(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder / Path(name).name) as image:
        return np.asarray(image.convert("RGB"))
