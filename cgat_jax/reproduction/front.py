"""The front of a study: MAP under the worst case by clean MAP, a line a defense."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from cgat_jax.errors import InputError
from cgat_jax.files.ownership import check_out_file
from cgat_jax.report import names
from cgat_jax.report.plotting import Chart, Line
from cgat_jax.report.records import Record
from cgat_jax.reproduction.study import Study
from cgat_jax.reproduction.tables import records_of

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


def front_file(page: Path, study: Study) -> Path:
    """The picture's file, beside the page of its study."""
    title = re.sub(r"[^a-z0-9]+", "_", study.title.lower()).strip("_")
    return page.with_name(f"{page.stem}_{title}.svg")


def check_front_files(page: Path, studies: Sequence[Study]) -> None:
    """Finds that the studies' pictures may be written, each to a file of its own.

    Raises:
        ForeignFilesError: a file in the way is not the study's picture.
        InputError: two titles make one file name.
    """
    made: dict[Path, Study] = {}
    for study in (study for study in studies if study.fronts):
        file = front_file(page, study)
        if (other := made.setdefault(file, study)) is not study:
            raise InputError(
                f"the fronts of {other.title!r} and {study.title!r} make one picture, "
                f"{file.name}: give one of them another title"
            )
        check_out_file(file, _mark(study))


def _mark(study: Study) -> str:
    """How a line near the head of a picture begins, by which it is known as ours."""
    return f"<title>{escape(study.title)}:"


def _mean(runs: Sequence[dict[str, Record]], attack: str) -> float:
    return sum(100 * run[attack]["map"] for run in runs) / len(runs)
