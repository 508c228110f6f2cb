"""The log of a training: a JSON object a line, each with a check of itself."""

import json
from pathlib import Path
from typing import Any

from cgat_jax.files.io import named_errors, seal_of, write_text

_CHECK = "check"


class MetricsLog:
    """Appends one JSON object a logged step to a file, each with a digest of itself.

    A resumed run first drops the lines of steps that it is going to repeat.
    """

    def __init__(self, path: Path, step: int):
        """Opens the log of a run that stands at ``step``."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            text = path.read_bytes().decode("utf-8", errors="replace")
            lines = text.splitlines(keepends=True)
            kept = [line for line in lines if _logged_step(line) <= step]
            write_text(path, "".join(kept))

    def append(self, entry: dict[str, Any]) -> None:
        """Adds one line."""
        line = json.dumps(entry | {_CHECK: line_check(entry)})
        with named_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def line_check(entry: dict[str, Any]) -> str:
    """Eight digits that belong to a logged entry."""
    return seal_of({key: entry[key] for key in entry if key != _CHECK})[:8]


def _logged_step(line: str) -> float:
    """The step of a whole line; infinity for any other, which is dropped."""
    try:
        entry = json.loads(line)
        step, check = float(entry["step"]), entry.get(_CHECK)
        return step if check in (None, line_check(entry)) else float("inf")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return float("inf")
