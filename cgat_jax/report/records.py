"""Reads what a run left in its workdir, and notes what is not there."""

import dataclasses
import json
from pathlib import Path
from typing import Any

STAGES = {"backbone": "backbone", "pretrain": "pretrain", "defend": "defense"}
REQUIRED = {
    "dataset": str,
    "backbone": str,
    "bits": int,
    "loss": str,
    "defense": str,
    "attack": str,
    "seed": int,
    "map": (int, float),
    "chance": (int, float),
}

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One workdir, read; ``metrics`` holds the logged steps of each stage.

    ``transfers`` are records of images that were made on another network, ``sanity``
    the checks of each network.
    """

    path: Path
    config: dict[str, Any]
    records: tuple[Record, ...]
    metrics: dict[str, tuple[Record, ...]]
    missing: tuple[str, ...]
    transfers: tuple[Record, ...] = ()
    sanity: tuple[Record, ...] = ()


def read_run(workdir: Path) -> Run:
    """Reads a workdir, complete or not.

    Raises:
        ValueError: it holds neither records nor metrics, or a damaged file.
    """
    config_file = workdir / "config.json"
    config = read_json(config_file) if config_file.is_file() else {}
    found = _read_records(workdir)
    records = tuple(record for record in found if not record.get("source"))
    metrics = {
        stage: lines
        for stage in STAGES
        if (lines := _read_metrics(workdir / stage / "metrics.jsonl"))
    }
    if not records and not metrics:
        raise ValueError(
            f"workdir {str(workdir)!r} holds no results: expected results.json, "
            "evaluate/*/record.json or a stage's metrics.jsonl"
        )
    missing = _missing(workdir, config, records, metrics)
    return Run(
        path=workdir,
        config=config,
        records=records,
        metrics=metrics,
        missing=missing,
        transfers=tuple(record for record in found if record.get("source")),
        sanity=tuple(map(read_json, sorted(workdir.glob("evaluate/*/sanity.json")))),
    )


def setting(config: dict[str, Any], key: str, default: Any = None) -> Any:
    """The value at a dotted key of a nested configuration, or the default."""
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return default
        config = config[name]
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; an error names the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object, got {type(content).__name__}")
    return content


def _read_records(workdir: Path) -> tuple[Record, ...]:
    """Records of results.json, then finished attacks of an evaluation cut short."""
    found: dict[tuple[Any, ...], Record] = {}
    results = workdir / "results.json"
    sources = [(results, None)] if results.is_file() else []
    sources += [(p, p) for p in sorted(workdir.glob("evaluate/*/record.json"))]
    for path, single in sources:
        content = read_json(path)
        entries = [content] if single else content.get("records")
        if not isinstance(entries, list):
            raise ValueError(f"{path}: expected a list 'records', got {entries!r}")
        entries += content.get("transfers") or []
        for entry in entries:
            _check(entry, path)
            key = tuple(
                entry.get(name) for name in ("defense", "attack", "budget", "source")
            )
            found.setdefault(key, entry)
    return tuple(found.values())


def _check(record: Any, path: Path) -> None:
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a record, got {record!r}")
    for key, kind in REQUIRED.items():
        if not isinstance(record.get(key), kind) or isinstance(record[key], bool):
            raise ValueError(
                f"{path}: record key {key!r} is missing or of a wrong type: "
                f"{record.get(key)!r}"
            )


def _read_metrics(path: Path) -> tuple[Record, ...]:
    """Logged steps in order; the later of two entries for a step, after a resume."""
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    steps: dict[float, Record] = {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            steps[entry["step"]] = entry
        except (ValueError, KeyError, TypeError) as error:
            # A run that was killed may leave half a last line.
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is damaged") from error
    return tuple(steps[step] for step in sorted(steps))


def _missing(
    workdir: Path,
    config: dict[str, Any],
    records: tuple[Record, ...],
    metrics: dict[str, tuple[Record, ...]],
) -> tuple[str, ...]:
    missing = [
        f"{name}: {loss}"
        for name, loss in (
            ("config.json", "settings unknown"),
            ("results.json", "evaluation not finished"),
        )
        if not (workdir / name).is_file()
    ]
    own = ["defend"] if setting(config, "pretrained") else list(STAGES)
    missing += [
        f"{stage}/metrics.jsonl: no training curve of this stage"
        for stage in own
        if setting(config, f"{STAGES[stage]}.epochs", 0) and stage not in metrics
    ]
    measured = {(record["defense"], record["attack"]) for record in records}
    missing += [
        f"evaluate/{defense}-{attack}: not measured yet"
        for defense, attack in _expected(config)
        if (defense, attack) not in measured
    ]
    wanted = records and setting(config, "evaluate.gallery", 1)
    if wanted and not any(workdir.glob("evaluate/*/gallery.json")):
        missing.append("evaluate/*/gallery.json: no galleries")
    return tuple(missing)


def _expected(config: dict[str, Any]) -> list[tuple[str, str]]:
    named = setting(config, "evaluate.attacks")
    if not isinstance(named, str):
        return []
    attacks = ["clean", *(name.strip() for name in named.split(",") if name.strip())]
    defenses = [] if setting(config, "pretrained") else ["none"]
    if setting(config, "defense.epochs", 1):
        defenses.append(setting(config, "defense.name", "none"))
    return [(d, a) for d in dict.fromkeys(defenses) for a in dict.fromkeys(attacks)]
