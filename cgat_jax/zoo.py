"""Networks of other runs, for images that are made on one and tried on another."""

import json
from pathlib import Path

from cgat_jax.config import Config
from cgat_jax.settings import difference, from_json, to_json
from cgat_jax.workdir import FREE_SETTINGS


def source_workdirs(config: Config) -> dict[str, Path]:
    """The workdirs of ``evaluate.sources`` by their folders' names.

    Raises:
        ValueError: two of them have the same name.
    """
    found: dict[str, Path] = {}
    for text in config.evaluate.sources.split(","):
        path = Path(text.strip())
        if not text.strip():
            continue
        if path.name in found:
            raise ValueError(
                f"evaluate.sources: two folders are named {path.name!r}: rename one, "
                "records tell them apart by it"
            )
        found[path.name] = path
    return found


def read_config(workdir: Path) -> Config:
    """The configuration of a run.

    Raises:
        ValueError: the workdir has none, or one that is damaged.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise ValueError(f"{workdir}: no config.json, so no run: check the folder")
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_sources(config: Config) -> None:
    """Refuses sources that are no runs on the same data.

    Raises:
        ValueError: which, and what differs.
    """
    for workdir in source_workdirs(config).values():
        other = read_config(workdir)
        ours, theirs = (json.loads(to_json(c))["data"] for c in (config, other))
        changed = [
            line
            for line in difference({"data": theirs}, {"data": ours})
            if not line.startswith(tuple(f"{key}:" for key in FREE_SETTINGS))
        ]
        if changed:
            raise ValueError(
                f"evaluate.sources: {workdir} has other data ({'; '.join(changed)}): "
                "images must be of the same queries"
            )
