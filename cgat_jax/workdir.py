"""Files of a run: written whole or not at all, and never mixed between settings."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from cgat_jax.config import Config
from cgat_jax.settings import difference, to_json

# Changing these changes no result, so a run may go on with other values.
FREE_SETTINGS = (
    "data.cache_gib",
    "data.root",
    "data.source",
    "data.threads",
    "checkpoint_seconds",
    "compilation_cache",
    "log_steps",
    "evaluate.attacks",  # what is measured already is read
    "evaluate.transfer",
    "evaluate.sources",
    "evaluate.sanity_queries",
)

# What two runs that share a pretrained network must agree on.
_PRETRAINING = ("data.", "model.", "backbone.", "pretrain.", "loss.", "seed")


def shares_pretraining(key: str) -> bool:
    """Whether a setting decides what the pretrained network is."""
    free = (*FREE_SETTINGS, "loss.redraw")
    return key.startswith(_PRETRAINING) and key not in free


def is_trained(workdir: Path) -> bool:
    """Whether a run's networks are trained: it has begun to measure them."""
    return any(workdir.glob("evaluate/*/record.json"))


def write_text(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON; a value that is not finite is an error, not a file."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes an array as .npy: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial.npy")
    np.save(partial, array, allow_pickle=False)
    partial.replace(path)


def claim(workdir: Path, config: Config) -> None:
    """Makes the workdir this configuration's, or finds that it already is.

    Raises:
        ValueError: the workdir holds a run with other settings; the message lists them.
    """
    path, text = workdir / "config.json", to_json(config)
    if path.is_file():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        changed = [
            line
            for line in difference(old, json.loads(text))
            if not line.startswith(tuple(f"{key}:" for key in FREE_SETTINGS))
        ]
        if changed:
            raise ValueError(
                f"{workdir} holds a run with another configuration "
                f"({'; '.join(changed)}): choose another --workdir or the old settings"
            )
    write_text(path, text)


class MetricsLog:
    """Appends one JSON object a logged step to a file.

    A resumed run first drops the lines of steps that it is going to repeat.
    """

    def __init__(self, path: Path, step: int):
        """Opens the log of a run that stands at ``step``."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _logged_step(line) <= step]
            write_text(path, "".join(kept))

    def append(self, entry: dict[str, Any]) -> None:
        """Adds one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _logged_step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except ValueError:  # half a line, from a kill while writing
        return float("inf")
