"""Kills and damages, drawn with a seed, and what came of each."""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.faults import subjects
from tests.faults.subjects import Subject

STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
IN_TIME = 30.0
KINDS = ("flip a bit", "cut", "empty", "null", "nest", "replace", "remove")
SAME, ASIDE, REFUSED = "the same bytes", "set aside and remade", "refused by name"
NAMED = "named on the page"
CURVE = "metrics.jsonl"  # a log: no number comes from it, and nothing makes it again


class Unexpected(AssertionError):
    """A fault that ended in a traceback or in another number."""


def kill_until_done(
    subject: Subject, kills: int, rng: np.random.Generator, cache: Path
) -> Counter:
    """Starts a program again and again, ends it at random, then lets it finish.

    Raises:
        Unexpected: a stop was late, spoke more than a line, or ended in another code.
    """
    counts = Counter()
    while sum(counts.values()) < kills:
        process = subjects.start(subject.command, cache)
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, *STOPS])
        _wait_for_handlers(process)
        try:
            process.wait(rng.uniform(0.0, subject.seconds))
        except subprocess.TimeoutExpired:
            _end(process, signal.Signals(number), subject)
            counts[signal.Signals(number).name] += 1
            continue
        out, errors = process.communicate()
        if process.returncode:
            raise Unexpected(f"{subject.name}: {process.returncode}: {errors}")
        shutil.rmtree(subject.folder)  # it finished first: begin anew
    finish(subject, cache)
    return counts


def _wait_for_handlers(process: subprocess.Popen) -> None:
    """Until the program catches SIGTERM: before, Python has not begun to run it."""
    status, mask = Path(f"/proc/{process.pid}/status"), 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        lines = [x for x in status.read_text().splitlines() if x.startswith("SigCgt")]
        if lines and int(lines[0].split()[1], 16) & mask:
            return
        time.sleep(0.005)


def _end(process: subprocess.Popen, number: signal.Signals, subject: Subject) -> None:
    began = time.monotonic()
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=IN_TIME + 15)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Unexpected(f"{subject.name}: still there after {number.name}") from None
    if number == signal.SIGKILL:
        return
    seconds = time.monotonic() - began
    lines = [line for line in errors.splitlines() if "stopped by" in line]
    finished = process.returncode == 0 and not lines and subjects.is_there(subject)
    expected = process.returncode == STOPS[number] and len(lines) == 1
    if not (finished or expected) or "Traceback" in errors or seconds > IN_TIME:
        raise Unexpected(
            f"{subject.name}, {number.name}: {process.returncode} after {seconds:.1f} "
            f"s: {errors}"
        )


def finish(subject: Subject, cache: Path) -> tuple[int, str, str]:
    """Runs a program to its end."""
    process = subjects.start(subject.command, cache)
    out, errors = process.communicate(timeout=900)
    return process.returncode, out, errors


def damage(path: Path, others: list[Path], rng: np.random.Generator) -> str:
    """Damages a file in a way that is drawn; which."""
    kind, content = str(rng.choice(KINDS)), path.read_bytes()
    if kind == "flip a bit" and content:
        flipped = bytearray(content)
        flipped[rng.integers(len(flipped))] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
    elif kind == "cut":
        path.write_bytes(content[: int(rng.integers(len(content) + 1))])
    elif kind == "replace":
        path.write_bytes(others[int(rng.integers(len(others)))].read_bytes())
    elif kind == "remove":
        path.unlink()
    else:
        texts = {"null": b"null", "nest": b'{"a":' * 50_000}
        path.write_bytes(texts.get(kind, b""))
    return kind


def judge(
    subject: Subject, hurt: Path, expected: dict, outcome: tuple[int, str, str]
) -> str:
    """What came of a damaged file.

    Raises:
        Unexpected: a traceback, a wrong exit code, another number, or more than a line.
    """
    code, _, errors = outcome
    what = f"{hurt}: exit {code}: {errors[-2000:]}"
    if "Traceback" in errors:
        raise Unexpected(what)
    if code == 0:
        found, name = subjects.result_of(subject), f"{hurt.parent.name}/{hurt.name}"
        if hurt.name == CURVE and found.get(name) != expected[name]:
            if name not in (subject.folder / "report" / "index.html").read_text():
                raise Unexpected(f"{name} is not named on the page: {what}")
            return NAMED
        if lines := subjects.difference(expected, found):
            raise Unexpected(f"another result: {lines}: {what}")
        aside = [p for p in subject.folder.rglob("*.damaged-*")]
        return ASIDE if aside else SAME
    lines = [line for line in errors.splitlines() if line.startswith(subject.name)]
    named = len(lines) == 1 and any(
        part in lines[0] for part in (hurt.name, str(hurt.parent), str(subject.folder))
    )
    if code != 2 or not named:
        raise Unexpected(what)
    return REFUSED


def kind_of(path: Path) -> str:
    """The kind of a file by its path under its workdir; checkpoints are one."""
    if len(path.parts) == 1:
        return path.name
    if "checkpoints" in path.parts:
        return f"{path.parts[0]}/checkpoints"
    name = path.name if path.suffix in (".json", ".jsonl") else f"*{path.suffix}"
    return f"{path.parts[0]}/{name}"


def draw_file(folder: Path, rng: np.random.Generator) -> tuple[Path, list[Path]]:
    """A file with content, its kind drawn first; and all of them."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    kinds = {}
    for path in files:
        kinds.setdefault(kind_of(path.relative_to(folder)), []).append(path)
    chosen = kinds[sorted(kinds)[int(rng.integers(len(kinds)))]]
    return chosen[int(rng.integers(len(chosen)))], files


def hurt_copy(
    subject: Subject, expected: dict, whole: Path, rng: np.random.Generator, cache: Path
) -> tuple[str, str, str]:
    """Damages one file of a copy of a workdir, and runs it again.

    Returns:
        The kind of the file, what came of it, and what was done to which file.
    """
    shutil.rmtree(subject.folder, ignore_errors=True)
    shutil.copytree(whole, subject.folder)
    path, files = draw_file(subject.folder, rng)
    how = damage(path, files, rng)
    where = path.relative_to(subject.folder)
    try:
        outcome = judge(subject, path, expected, finish(subject, cache))
    except Unexpected as error:
        raise Unexpected(f"{how} of {where}: {error}") from error
    return kind_of(where), outcome, f"{how} of {where}"


def orphans(folder: Path) -> list[int]:
    """Processes that still work in a folder, by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode()
            except OSError:
                continue
            if f"={folder}" in command:
                found.append(int(entry.name))
    return found
