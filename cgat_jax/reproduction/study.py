"""A study: a table whose cells are runs that differ in a few settings."""

import dataclasses
import itertools
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cgat_jax.config import Config
from cgat_jax.config.loading import find_file, load_config, override
from cgat_jax.config.settings import free_settings, validate
from cgat_jax.errors import InputError, nearest
from cgat_jax.report import names
from cgat_jax.report.records import Record, read_run, warnings_of
from cgat_jax.report.tables import markdown_table, markdown_text
from cgat_jax.workdir import shares_pretraining

MISSING = "-"
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
    """The runs of a study, each pretrained network before those who defend it."""
    cells = {}
    for seed in study.seeds:
        for title, overrides in study.rows.items():
            shared = {k: v for k, v in overrides.items() if shares_pretraining(k)}
            source = _folder("pretrained", shared, seed)
            alone = shared | {"defense.epochs": 0}
            cells.setdefault(source, StudyRun(source, seed, tuple(alone.items()), ""))
            if overrides.get("defense.epochs") != 0:
                folder = _folder(title, {}, seed)
                cell = StudyRun(folder, seed, tuple(overrides.items()), source)
                if cells.setdefault(folder, cell) != cell:
                    raise ValueError(f"two rows are called {title!r} but for signs")
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
            if not shares_pretraining(key) and not key.startswith("defense."):
                raise InputError(
                    f"{key} is of no effect with defense.epochs=0: this row is the "
                    "network that the others defend; give it for all rows (overrides)"
                )


def check_same_data(studies: Iterable[tuple[Study, Path]]) -> None:
    """Finds that what was measured on one data set was measured on the same data.

    Records of earlier versions, which note no data, are taken; a run that cannot be
    read is left to those who show its numbers.

    Args:
        studies: each with the folder of its runs.

    Raises:
        InputError: two runs were made of other data; names both folders.
    """
    known: dict[tuple[Any, ...], tuple[str, Path]] = {}
    for study, root in studies:
        for title, seed in itertools.product(study.rows, study.seeds):
            folder, key = root / run_folder(study, title, seed), _data_of(study, title)
            for digest in _digests(study, title, seed, root):
                first, other = known.setdefault(key, (digest, folder))
                if digest != first:
                    raise InputError(
                        f"{folder}: made of other data than {other} (data_sha256 "
                        f"{digest[:12]}, not {first[:12]}), so no one table: move one "
                        "of them away, or choose another --workdir"
                    )


def _data_of(study: Study, title: str) -> tuple[Any, ...]:
    """The settings that tell a row's data set; not where it lies."""
    settings = dict(study.overrides) | dict(study.rows[title])
    free = free_settings()
    own = {k for k in settings if k.startswith("data.") and k not in free}
    return study.config, *((key, str(settings[key])) for key in sorted(own))


def _digests(study: Study, title: str, seed: int, root: Path) -> list[str]:
    try:
        records = records_of(study, title, seed, root).values()
    except InputError:
        return []  # who shows its numbers says what is damaged
    return [r["data_sha256"] for r in records if r.get("data_sha256")]


def study_table(study: Study, root: Path) -> str:
    """The study as Markdown: MAP in percent, mean over seeds (lowest to highest).

    Raises:
        InputError: a record is damaged, or two are of other data; names the files.
    """
    check_same_data([(study, root)])
    measured = {
        title: [records_of(study, title, seed, root) for seed in study.seeds]
        for title in study.rows
    }
    every = [r for runs in measured.values() for run in runs for r in run.values()]
    attacks = sorted(
        {record["attack"] for record in every},
        key=lambda attack: names.rank(names.ATTACKS, attack),
    )
    titles = [names.display(names.ATTACKS, attack) for attack in attacks]
    rows = [
        [
            title,
            *(_entry(runs, a, "map") for a in attacks),
            _entry(runs, None, "chance"),
        ]
        for title, runs in measured.items()
    ]
    columns = ["MAP, %", *titles, "chance"]
    table = markdown_table(pd.DataFrame(rows, columns=columns))
    warned = "".join(f"{markdown_text(text)}\n\n" for text in warnings_of(every))
    text = f"## {study.title}\n\n{warned}{study.text.strip()}\n\n{table}\n"
    return f"{text}{_made(study, every)}\n"


def records_of(study: Study, title: str, seed: int, root: Path) -> dict[str, Record]:
    """By attack: what the run of a row and a seed has measured so far."""
    folder = root / run_folder(study, title, seed)
    if not (folder / "results.json").is_file():
        return {}
    return {record["attack"]: record for record in read_run(folder).records}


def run_folder(study: Study, title: str, seed: int) -> str:
    """The folder of a row's run; that of an undefended row is shared."""
    overrides = study.rows[title]
    if overrides.get("defense.epochs") == 0:
        shared = {k: v for k, v in overrides.items() if shares_pretraining(k)}
        return _folder("pretrained", shared, seed)
    return _folder(title, {}, seed)


def _entry(runs: list[dict[str, Record]], attack: str | None, key: str) -> str:
    """Mean (lowest to highest) over the seeds that have it, and how many lack it."""
    values = [run[attack or "clean"][key] for run in runs if (attack or "clean") in run]
    if not values:
        return MISSING
    text = names.percent(sum(values) / len(values))
    low, high = names.percent(min(values)), names.percent(max(values))
    if low != high:
        text += f" ({low} to {high})"
    lacking = len(runs) - len(values)
    return f"{text} [{lacking} missing]" if lacking else text


def _made(study: Study, records: list[Record]) -> str:
    seeds = f"Seed {study.seeds[0]}"
    if len(study.seeds) > 1:
        listed = ", ".join(map(str, study.seeds))
        seeds = f"Seeds {listed}: mean, and lowest to highest where they differ"
    versions = sorted({str((r.get("versions") or {}).get("jax")) for r in records})
    devices = sorted({str(record.get("device")) for record in records})
    commits = sorted({str(record.get("commit")) for record in records})
    return (
        f"{seeds}. From the records of {len(records)} evaluations; "
        f"{', '.join(devices)}, jax {', '.join(versions)}, "
        f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}."
    )


def _folder(title: str, overrides: Mapping[str, Any], seed: int) -> str:
    parts = [title, *(f"{k}-{v}" for k, v in overrides.items()), f"seed{seed}"]
    return re.sub(r"[^a-z0-9._]+", "-", "-".join(parts).lower()).strip("-")
