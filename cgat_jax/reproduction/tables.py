"""The tables of studies: what their runs have measured, as Markdown."""

import functools
import itertools
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from cgat_jax.config.settings import free_settings
from cgat_jax.errors import InputError
from cgat_jax.report import names
from cgat_jax.report.records import Record, read_run, warnings_of
from cgat_jax.report.tables import markdown_table, markdown_text
from cgat_jax.reproduction.study import (
    Study,
    other_settings,
    run_folder,
    run_overrides,
)

MISSING = "-"
_log = logging.getLogger(__name__)


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
    """By attack: what the run of a row and a seed has measured so far.

    Nothing, with a warning, if it is a run of other settings than the row's. Where its
    weights lay is not compared: who shows a table may not have them.
    """
    folder = root / run_folder(study, title, seed)
    if not (folder / "results.json").is_file():
        return {}
    run = read_run(folder)
    if run.config:  # earlier versions may have left none
        others = other_settings(run.config, study, run_overrides(study, title), seed)
        if wrong := [str(x) for x in others if x.key != "model.weights"]:
            _warn_left_out(folder, title, "; ".join(wrong))
            return {}
    return {record["attack"]: record for record in run.records}


@functools.cache  # a table is read after every cell
def _warn_left_out(folder: Path, title: str, wrong: str) -> None:
    told = "%s: left out of %r, as it was run with other settings (%s)"
    _log.warning(told, folder, title, wrong)


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
