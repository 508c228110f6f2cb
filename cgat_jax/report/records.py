"""Reads what a run left in its workdir, and notes what is not there."""

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cgat_jax.config.fields import listed
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.io import SEAL, read_sealed, unsealed
from cgat_jax.files.metrics_log import line_check
from cgat_jax.report.checks import (
    ANEW,
    check_config,
    check_first,
    check_record,
    check_sanity,
    is_number,
)
from cgat_jax.report.names import GIVEN

STAGES = {"backbone": "backbone", "pretrain": "pretrain", "defend": "defense"}
"""The stages that train: folders of a workdir, and sections of the settings."""

_SHOWN = re.compile("loss|map/|epoch")  # what charts show of a log

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One workdir, read; ``metrics`` holds the logged steps of each stage.

    ``transfers`` are records of images that were made on another network, ``sanity``
    the checks of each network, ``first`` worst cases on the first queries alone,
    ``inputs`` digests of what it was made of, as far as it notes them. Entries of
    several runs that are compared have a ``variant``, which tells networks with the
    same defense apart.
    """

    path: Path
    config: dict[str, Any]
    records: tuple[Record, ...]
    metrics: dict[str, tuple[Record, ...]]
    transfers: tuple[Record, ...]
    sanity: tuple[Record, ...]
    first: tuple[Record, ...] = ()
    missing: tuple[str, ...] = ()
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_run(workdir: Path) -> Run:
    """Reads a workdir, complete or not.

    Raises:
        InputError: it holds neither records nor metrics, or a damaged file that numbers
            come from; names it. A damaged line of a training curve is left out, and
            named in ``missing``.
    """
    config_file = workdir / "config.json"
    config = read_sealed(config_file) if config_file.is_file() else {}
    if config_file.is_file():
        check_config(config, config_file)
    found = _read_records(workdir)
    finished = (workdir / "results.json").is_file()
    metrics, damaged = {}, []
    for stage in STAGES:
        lines, problems = _read_metrics(workdir / stage / "metrics.jsonl", finished)
        metrics |= {stage: lines} if lines else {}
        damaged += problems
    run = Run(
        path=workdir,
        config=config,
        inputs=_read_inputs(workdir / "inputs.json"),
        records=tuple(record for record in found if not record.get("source")),
        metrics=metrics,
        transfers=tuple(record for record in found if record.get("source")),
        sanity=tuple(map(_read_sanity, sorted(workdir.glob("evaluate/*/sanity.json")))),
        first=tuple(
            map(_read_first, sorted(workdir.glob("evaluate/*/worst_case.json")))
        ),
    )
    if not run.records and not metrics:
        listed = f" ({'; '.join(damaged)})" if damaged else ""
        raise InputError(
            f"workdir {str(workdir)!r} holds no results: expected results.json, "
            f"evaluate/*/record.json or a stage's metrics.jsonl{listed}"
        )
    return dataclasses.replace(run, missing=(*_missing(run), *damaged))


def _read_inputs(path: Path) -> Record:
    """The digests that a run notes; none where they are damaged, as it says itself."""
    try:
        return read_sealed(path) if path.is_file() else {}
    except (OSError, DamagedFileError):
        return {}


def warnings_of(records: Iterable[Record]) -> list[str]:
    """What is wrong with the data or codes that numbers were measured on, each once."""
    texts = dict.fromkeys(t for r in records for t in r.get("warnings") or [])
    return [t if t.startswith("Warning") else f"Warning: {t}" for t in texts]


def setting(config: dict[str, Any], key: str, default: Any = None) -> Any:
    """The value at a dotted key of a nested configuration, or the default."""
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return default
        config = config[name]
    return config


def _read_records(workdir: Path) -> tuple[Record, ...]:
    """Records of results.json, and in place of them what was measured since."""
    found: dict[tuple[Any, ...], Record] = {}
    results = workdir / "results.json"
    sources = [(results, None)] if results.is_file() else []
    sources += [(p, p) for p in sorted(workdir.glob("evaluate/*/record.json"))]
    for path, single in sources:
        content = _read_measured(path)
        entries = [content] if single else content.get("records")
        transfers = content.get("transfers") or []
        if not isinstance(entries, list) or not isinstance(transfers, list):
            raise DamagedFileError(f"{path}: damaged, expected lists of records")
        for entry in [*entries, *transfers]:
            if isinstance(entry, dict) and SEAL in entry:
                entry = unsealed(entry, path)
            check_record(entry, path)
            key = tuple(
                entry.get(name) for name in ("defense", "attack", "budget", "source")
            )
            found[key] = entry
    return tuple(found.values())


def _read_measured(path: Path) -> Record:
    """A sealed file of what was measured."""
    try:
        return read_sealed(path)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; {ANEW}") from error


def _read_sanity(path: Path) -> Record:
    entry = _read_measured(path)
    check_sanity(entry, path)
    return entry


def _read_first(path: Path) -> Record:
    entry = _read_measured(path)
    check_first(entry, path)
    return entry


def _read_metrics(path: Path, finished: bool) -> tuple[tuple[Record, ...], list[str]]:
    """Logged steps in order, the later of two for a step; what was left out.

    A run that was killed may leave half a last line, which is nobody's damage until it
    has finished.
    """
    if not path.is_file():
        return (), []
    lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    steps: dict[float, Record] = {}
    damaged = []
    for number, line in enumerate(lines, start=1):
        entry = _entry_of(line)
        if entry is not None:
            steps[entry["step"]] = entry
        elif number < len(lines) or (finished and line):
            damaged.append(number)
    name = f"{path.parent.name}/{path.name}"
    problems = [f"{name}: {_lines(damaged)} damaged, left out"] if damaged else []
    return tuple(steps[step] for step in sorted(steps)), problems


def _entry_of(line: str) -> Record | None:
    """A logged entry; None for a line that is not as it was written."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or not is_number(entry.get("step")):
            return None
        if "check" in entry and entry["check"] != line_check(entry):
            return None
    except (ValueError, RecursionError):
        return None
    shown = [v for k, v in entry.items() if _SHOWN.match(k) and v is not None]
    return entry if all(map(is_number, shown)) else None


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"line {shown} is" if len(numbers) == 1 else f"lines {shown} are"


def _missing(run: Run) -> list[str]:
    """What a finished run would have and this one has not, a line each."""
    folder, config, missing = run.path, run.config, []
    if not (folder / "config.json").is_file():
        missing.append("config.json: settings unknown")
    if not (folder / "results.json").is_file():
        missing.append("results.json: evaluation not finished")
    stages = ["defend"] if setting(config, "pretrained") else list(STAGES)
    if setting(config, "model.weights"):  # in place of a backbone of its own
        stages = [stage for stage in stages if stage != "backbone"]
    missing += [
        f"{stage}/metrics.jsonl: no training curve of this stage"
        for stage in stages
        if setting(config, f"{STAGES[stage]}.epochs", 0) and stage not in run.metrics
    ]
    measured = {(record["defense"], record["attack"]) for record in run.records}
    missing += [
        f"evaluate/{defense}-{attack}: not measured yet"
        for defense, attack in _expected(config)
        if (defense, attack) not in measured
    ]
    return missing


def _expected(config: dict[str, Any]) -> list[tuple[str, str]]:
    named = setting(config, "evaluate.attacks")
    if not isinstance(named, str):
        return []
    attacks = "clean", *listed(named)
    defenses = [] if setting(config, "pretrained") else ["none"]
    if setting(config, "model.weights") == GIVEN:  # nothing was trained
        defenses = [setting(config, "defense.name", GIVEN)]
    elif setting(config, "defense.epochs", 1):
        defenses.append(setting(config, "defense.name", "none"))
    return [(d, a) for d in dict.fromkeys(defenses) for a in dict.fromkeys(attacks)]
