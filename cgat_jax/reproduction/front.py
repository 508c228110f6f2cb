"""The front of a study: MAP under the worst case by clean MAP, a line a defense."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from cgat_jax.report import names
from cgat_jax.report.plotting import Chart, Line
from cgat_jax.report.records import Record
from cgat_jax.reproduction.study import Study, records_of

_CLEAN, _ATTACKED = "clean", "worst_case"


def front_chart(study: Study, root: Path) -> Chart | None:
    """The front; None where no row has been measured both ways.

    A point is a row of the study, its mean over the seeds that have both measures.

    Args:
        study: its ``fronts`` tell the lines and what their points are called.
        root: the folder of its runs.

    Raises:
        InputError: a record is damaged; names its file.
    """
    lines, levels = [], []
    for label, rows in study.fronts.items():
        points = {}
        for name, title in rows.items():
            runs = [records_of(study, title, seed, root) for seed in study.seeds]
            both = [run for run in runs if {_CLEAN, _ATTACKED} <= run.keys()]
            if both:
                points[name] = [_mean(both, attack) for attack in (_CLEAN, _ATTACKED)]
                levels += [100 * run[_CLEAN]["chance"] for run in both]
        if points:
            x, y = zip(*points.values(), strict=True)
            lines.append(Line(label, len(lines) + 2, x, (y,), names=tuple(points)))
    if not lines:
        return None
    axes = [f"{names.display(names.ATTACKS, a)} MAP, %" for a in (_CLEAN, _ATTACKED)]
    level = sum(levels) / len(levels)
    return Chart(study.title, *axes, tuple(lines), level, None)


def front_file(page_stem: str, study: Study) -> str:
    """The name of the picture's file beside a page of studies."""
    title = re.sub(r"[^a-z0-9]+", "_", study.title.lower()).strip("_")
    return f"{page_stem}_{title}.svg"


def front_mark(study: Study) -> str:
    """How a line near the head of that file begins, by which it is known as ours."""
    return f"<title>{escape(study.title)}:"


def _mean(runs: Sequence[dict[str, Record]], attack: str) -> float:
    return sum(100 * run[attack]["map"] for run in runs) / len(runs)
