"""A study: a table whose cells are runs that differ in a few settings."""

import dataclasses
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cgat_jax.config import Config
from cgat_jax.config.loading import find_file, load_config, override
from cgat_jax.config.settings import (
    Change,
    deciding_changes,
    validate,
)
from cgat_jax.errors import InputError, nearest
from cgat_jax.evaluation.unused import check_options
from cgat_jax.workdir import has_begun, shares_pretraining

UNDEFENDED = {"defense.epochs": 0}
_PLACES = ("data.root", "data.source", "data.splits")  # of which data they are
_NAMED_ALONE = {"evaluate.worst_case_queries": 0}
"""A table has the attacks that its study names, each on all queries."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What to run and how to call it.

    ``rows`` maps a row's title to the settings that make it; a row with
    ``defense.epochs`` 0 is the undefended network. ``overrides`` hold for all rows.
    ``fronts`` are lines of a picture, clean against worst case: what a line is called,
    and the titles of the rows on it by what each point is called.
    """

    title: str
    text: str
    config: str
    rows: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = (0,)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fronts: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


class StudyRun(NamedTuple):
    """One run: its folder, its seed, its settings, and whose network it defends."""

    folder: str
    seed: int
    overrides: tuple[tuple[str, Any], ...]
    pretrained: str


def cells_of(study: Study) -> list[StudyRun]:
    """The runs of a study, each pretrained network before those who defend it.

    Raises:
        InputError: two of them would share a folder.
    """
    cells = {}
    for seed in study.seeds:
        for title, overrides in study.rows.items():
            shared = _shared(overrides)
            source = _folder("pretrained", shared, seed)
            alone = shared | UNDEFENDED
            known = dict(cells[source].overrides) if source in cells else alone
            places = [k for k in _PLACES if known.get(k) and alone.get(k)]
            if _deciding(known) != _deciding(alone) or any(
                known[key] != alone[key] for key in places
            ):
                raise InputError(f"{title!r} and another row would share {source}")
            every = tuple((known | alone).items())
            cells[source] = StudyRun(source, seed, every, "")
            if not is_undefended(study, title):
                folder = _folder(title, {}, seed)
                cell = StudyRun(folder, seed, tuple(overrides.items()), source)
                if cells.setdefault(folder, cell) != cell:
                    raise InputError(f"two rows are called {title!r} but for signs")
    return list(cells.values())


def command(study: Study, cell: StudyRun, root: Path) -> list[str]:
    """The command line of one cell, a run of ``experiments.main``."""
    config = find_file(study.config)
    arguments = [sys.executable, "-m", "experiments.main", f"--config={config}"]
    arguments += [f"--workdir={root / cell.folder}", f"--config.seed={cell.seed}"]
    if cell.pretrained:
        arguments.append(f"--config.pretrained={root / cell.pretrained}")
    settings = _NAMED_ALONE | study.overrides | dict(cell.overrides)
    arguments += [f"--config.{key}={value}" for key, value in settings.items()]
    return [*arguments, f"--config.compilation_cache={root / 'compiled'}"]


def config_of(study: Study, overrides: Mapping[str, Any]) -> Config:
    """The configuration that a cell's command line makes, but for its workdirs.

    Raises:
        InputError: the file or a setting is wrong; says what and where.
    """
    config = load_config(study.config)
    override(config, _NAMED_ALONE | dict(study.overrides) | dict(overrides))
    return config


def other_settings(
    found: Mapping[str, Any], study: Study, overrides: Mapping[str, Any], seed: int
) -> list[Change]:
    """What in a run's settings decides results and is not as a cell has it.

    Whose network it defends is left out, as the cell's settings do not say it.

    Args:
        found: the run's ``config.json``.
        study: of the cell.
        overrides: of the cell.
        seed: of the cell.
    """
    wanted = config_of(study, overrides)
    wanted.seed = seed
    changes = deciding_changes(found, wanted)
    return [change for change in changes if change.key != "pretrained"]


def check_study(study: Study) -> None:
    """Finds that every row is a configuration, before the first of them runs.

    Raises:
        InputError: names the row, and what is wrong with it; or a front's row that is
            none.
    """
    for title in (row for front in study.fronts.values() for row in front.values()):
        if title not in study.rows:
            close = nearest(title, study.rows)
            raise InputError(f"{study.title}, fronts: no row {title!r}{close}")
    for title, overrides in study.rows.items():
        try:
            validate(config_of(study, overrides))
            _check_undefended(overrides)
        except InputError as error:
            raise InputError(f"{study.title}, row {title!r}: {error}") from error


def _check_undefended(overrides: Mapping[str, Any]) -> None:
    """An undefended row is the run that the others start from, with its settings."""
    if overrides.get("defense.epochs") == 0:
        for key in overrides:
            if not _is_shared(key) and not key.startswith("defense."):
                raise InputError(
                    f"{key} is of no effect with defense.epochs=0: this row is the "
                    "network that the others defend; give it for all rows (overrides)"
                )


def run_folder(study: Study, title: str, seed: int) -> str:
    """The folder of a row's run; that of an undefended row is shared."""
    if is_undefended(study, title):
        return _folder("pretrained", _shared(study.rows[title]), seed)
    return _folder(title, {}, seed)


def run_overrides(study: Study, title: str) -> dict[str, Any]:
    """The settings of a row's run; an undefended row's are the shared ones alone."""
    overrides = study.rows[title]
    if is_undefended(study, title):
        return _shared(overrides) | UNDEFENDED
    return dict(overrides)


def is_undefended(study: Study, title: str) -> bool:
    """Whether a row is the network that others of its settings defend."""
    return study.rows[title].get("defense.epochs") == 0


def check_new_cells(study: Study, root: Path) -> None:
    """Finds that the cells which have not begun have no option that does nothing.

    Those that have go on with the options that they have.

    Args:
        study: checked.
        root: of its cells.

    Raises:
        InputError: names the cell's folder, and the option.
    """
    for cell in cells_of(study):
        if not has_begun(root / cell.folder):
            config = config_of(study, dict(cell.overrides))
            config.pretrained = cell.pretrained
            try:
                check_options(config)
            except InputError as error:
                raise InputError(f"{study.title}, {cell.folder}: {error}") from error


def _shared(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in overrides.items() if _is_shared(k)}


def _is_shared(key: str) -> bool:
    """Whether a setting is of the network that is defended, or of reading its data."""
    return shares_pretraining(key) or key.startswith("data.")


def _deciding(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Those that decide what the network is that is defended."""
    return {k: v for k, v in overrides.items() if shares_pretraining(k)}


def _folder(title: str, overrides: Mapping[str, Any], seed: int) -> str:
    told = [f"{k}-{v}" for k, v in _deciding(overrides).items()]
    parts = [title, *told, f"seed{seed}"]
    return re.sub(r"[^a-z0-9._]+", "-", "-".join(parts).lower()).strip("-")
