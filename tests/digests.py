"""Digests of every number of a workdir, to show that a change moves none.

python -m tests.digests --workdir=A > a.json
python -m tests.digests --compare BEFORE AFTER

prints the digests as JSON, and those of two workdirs (or of two such JSON files) side
by side as Markdown; it exits with 1 if any differs. A number is an array of the last
checkpoint of a stage or of ProS-GAN, of a ``.safetensors`` or a ``.npy`` file, or a
field of a training curve or of ``results.json``. What tells when, where and by which
version it was made, and how fast, is none: ``MADE_BY``, ``CLOCK``.
"""

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from cgat_jax.files.arrays import digest_of
from cgat_jax.files.io import read_sealed
from cgat_jax.report.tables import markdown_table
from cgat_jax.training import checkpoint

MADE_BY = ("seconds", "commit", "versions", "device")
CLOCK = ("seconds/step", "seconds/data", "images_per_second", "check")
HEADER = ["run: file", "numbers", "same", "before", "after"]
Digests = dict[str, dict[str, str]]
"""Of each number by its name, by the file or the checkpoint that holds it."""
_NAMES = ("defense", "source", "attack")
_NAMED = 5  # differences that are named, of each kind


def digests_of(workdir: Path) -> Digests:
    """The digests of all numbers of a run; its prepared data are left out."""
    found = {}
    for path in sorted(workdir.rglob("*")):
        name = path.relative_to(workdir)
        if name.parts[0] == "data":
            continue
        if path.suffix == ".npy":
            folder = f"{name.parts[0]}/*.npy" if name.parent.parts else name.name
            array = digest_of(np.load(path))
            found.setdefault(folder, {})[name.as_posix()] = array
        elif path.suffix == ".safetensors":
            found[name.as_posix()] = _each(load_file(path))
        elif name.name == "metrics.jsonl":
            found[name.as_posix()] = dict(_curve(path))
        elif path.is_dir() and any(path.glob("[0-9]*/meta")):
            found[name.as_posix()] = _each(_last_state(path))
    if (results := workdir / "results.json").is_file():
        found["results.json"] = dict(_fields(read_sealed(results)))
    return found


def _each(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: digest_of(np.asarray(array)) for name, array in arrays.items()}


def _last_state(folder: Path) -> dict[str, Any]:
    """The arrays of the newest checkpoint by their names, and its step."""
    opened = checkpoint.open_checkpoints(folder, read_only=True)
    with contextlib.closing(opened) as manager:
        like = checkpoint.stored_shapes(manager)
        state = checkpoint.restore_latest(manager, like, mend=False)
        return {"step of the checkpoint": manager.latest_step()} | (state or {})


def _curve(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        for key, value in entry.items():
            if key not in CLOCK:
                yield f"step {entry['step']}: {key}", _digest(value)


def _fields(results: dict[str, list[dict]]) -> Iterator[tuple[str, str]]:
    for kind, records in results.items():
        for record in records:
            about = " ".join(str(record[key]) for key in _NAMES if key in record)
            for key, value in record.items():
                if key not in MADE_BY:
                    yield f"{kind}, {about}: {key}", _digest(value)


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path) -> Digests:
    """The digests of a workdir, or those that were printed of one."""
    return digests_of(path) if path.is_dir() else json.loads(path.read_text())


def comparison(run: str, before: Digests, after: Digests) -> tuple[list, list[str]]:
    """Rows of a table under ``HEADER``, and a line on everything that differs."""
    rows, lines = [], []
    for what in sorted(before.keys() | after.keys()):
        old, new = before.get(what, {}), after.get(what, {})
        names = old.keys() | new.keys()
        same = [name for name in names if old.get(name) == new.get(name)]
        ends = [_digest(side)[:12] if side else "" for side in (old, new)]
        rows.append([f"{run}: `{what}`", f"{len(names)}", f"{len(same)}", *ends])
        kinds = {
            "only before": sorted(old.keys() - new.keys()),
            "only after": sorted(new.keys() - old.keys()),
            "other": sorted((old.keys() & new.keys()) - set(same)),
        }
        lines += [
            f"- {run}: `{what}`, {kind}: {_listed(differing, len(names))}"
            for kind, differing in kinds.items()
            if differing
        ]
    return rows, lines


def _listed(names: list[str], count: int) -> str:
    if len(names) == count:
        return f"all {count}"
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + rest


def main() -> int:
    """Prints the digests of a workdir, or a comparison of two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--workdir", type=Path, help="print its digests as JSON")
    given.add_argument(
        "--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="Markdown"
    )
    options = parser.parse_args()
    if options.workdir:
        print(json.dumps(digests_of(options.workdir), indent=1))
        return 0
    rows, lines = comparison(options.compare[1].stem, *map(load, options.compare))
    print(markdown_table(pd.DataFrame(rows, columns=HEADER)))
    print("\n".join(lines or ["Every number is the same."]))
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
