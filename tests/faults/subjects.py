"""The programs that are hurt: how they are started, and what they must end in."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.data.sources import photo, write_images, write_lists
from tests.runs import read_curve

ROOT = Path(__file__).parents[2]
CONFIG = "tests/tiny_config.py"
ATTACKS = "noise,cgat,p2p,tha,prosgan"
_SMALL = {
    "evaluate.attacks": ATTACKS,
    "evaluate.transfer": "cgat",
    "evaluate.prototype_steps": 40,
    "evaluate.prosgan_epochs": 1,
    "evaluate.prosgan_width": 0.05,
}
_TINY = {
    "data.image_size": 40,
    "data.crop_size": 32,
    "data.num_queries": 20,
    "data.num_train": 88,
    "data.num_database": 120,
    "pretrain.epochs": 1,
    "defense.steps": 2,
    "evaluate.steps": 2,
    "evaluate.sanity_queries": 0,
    "evaluate.prosgan_epochs": 1,
    "evaluate.prosgan_width": 0.05,
    "evaluate.prototype_steps": 10,
    "checkpoint_seconds": 0,
}


LAST = {
    "main": "results.json",
    "prepare": "prepared.json",
    "reproduce": "table4/index.html",
}


class Subject(NamedTuple):
    """A command, the folder that it fills, and how long it takes alone, seconds."""

    name: str
    command: list[str]
    folder: Path
    seconds: float


def program(name: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", f"experiments.{name}", *flags]


def start(command: list[str], cache: Path) -> subprocess.Popen:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main_subject(folder: Path) -> Subject:
    flags = [f"--config={CONFIG}", f"--workdir={folder}"]
    flags += [f"--config.{key}={value}" for key, value in _SMALL.items()]
    return Subject("main", program("main", *flags), folder, 20.0)


def source_of_photos(folder: Path) -> Path:
    """Ninety photos, eight classes; made once."""
    if folder.exists():
        return folder
    names = [f"images/p{i:02d}.jpg" for i in range(90)]
    labels = [" ".join("1" if i % 8 == c else "0" for c in range(8)) for i in range(90)]
    rows = list(zip(names, labels, strict=True))
    parts = {"test": rows[:10], "database": rows[10:], "train": rows[10:60]}
    write_lists(folder, parts)
    write_images(folder, names, size=(300, 400))
    assert photo(0, 4, 4).shape == (4, 4, 3)
    return folder


def prepare_subject(folder: Path, source: Path) -> Subject:
    # Parts of six images: as many as stay small at that size, which none of them has.
    flags = ["--dataset=lists", f"--source={source}", f"--out={folder}"]
    flags.append("--image_size=4000")
    return Subject("prepare", program("prepare", *flags), folder, 4.0)


def reproduce_subject(folder: Path) -> Subject:
    flags = ["--table=4", "--dataset=quickstart", "--bits=32", f"--workdir={folder}"]
    flags += [f"--set={key}={value}" for key, value in _TINY.items()]
    flags.append("--jobs=2")
    return Subject("reproduce", program("reproduce", *flags), folder, 40.0)


def is_there(subject: Subject) -> bool:
    """Whether a program has left what it writes last."""
    return (subject.folder / LAST[subject.name]).is_file()


def result_of(subject: Subject) -> dict[str, object]:
    """What a finished program leaves, without times: to compare with ``==``."""
    folder = subject.folder
    if subject.name == "prepare":
        return _bytes(folder, ("images/**/*", "*.npy", "*.npz"))
    if subject.name == "main":
        return _of_run(folder)
    runs = sorted(path.parent for path in folder.glob("*/*/results.json"))
    return {str(run.relative_to(folder)): _of_run(run) for run in runs}


def _of_run(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "results.json").read_text())
    found: dict[str, object] = {
        kind: [_timeless(entry) for entry in content[kind]]
        for kind in ("records", "transfers", "sanity")
    }
    found |= _bytes(folder, ("codes/*/*.npy", "targets.npy"))
    for path in folder.glob("*/metrics.jsonl"):
        found[str(path.relative_to(folder))] = _curve(path)
    for stage in ("backbone", "pretrain", "defend"):
        metas = {
            int(path.parts[-3]): path
            for path in folder.glob(f"{stage}/checkpoints/*/meta/metadata")
            if path.parts[-3].isdigit()
        }
        if metas:
            newest = max(metas)
            found[stage] = newest, json.loads(metas[newest].read_text())["sha256"]
    return found


def _curve(path: Path) -> object:
    try:
        return read_curve(path)
    except Exception:  # whatever a damaged one makes of the parser
        return path.read_bytes()


def difference(expected: dict, found: dict, prefix: str = "") -> list[str]:
    """Where two results differ, by dotted keys, for a message."""
    lines = []
    for key in sorted(expected.keys() | found.keys()):
        old, new = expected.get(key), found.get(key)
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            old, new = dict(enumerate(old)), dict(enumerate(new))
        if isinstance(old, dict) and isinstance(new, dict):
            old = {str(k): old[k] for k in old}
            new = {str(k): new[k] for k in new}
            lines += difference(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {str(old)[:300]} -> {str(new)[:300]}")
    return lines


def _timeless(entry: dict) -> dict:
    """Without what is not a result; the commit, too, may move meanwhile."""
    return {k: entry[k] for k in entry if k not in ("seconds", "sha256", "commit")}


def _bytes(folder: Path, patterns: tuple[str, ...]) -> dict[str, bytes]:
    """Contents by path, without what was set aside as damaged."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }
    return {name: x for name, x in found.items() if ".damaged-" not in name}
