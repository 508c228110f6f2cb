"""Runs the faults and writes what came of them as Markdown.

python -m tests.faults --kills=100 --damages=100 --seed=0 --out=docs/reliability.md
"""

import argparse
import datetime
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from cgat_jax.evaluation.provenance import provenance
from cgat_jax.files.io import write_text
from cgat_jax.files.ownership import check_out_file
from tests.faults import hurt, subjects
from tests.faults.hurt import ASIDE, REFUSED, SAME

SHARES = {"main": 0.2, "prepare": 0.7, "reproduce": 0.1}
EACH = 10  # kills of a program before it is let finish
TITLE = "# Reliability"
INTRODUCTION = """\
# Reliability

Programs are killed and stopped at random moments, and files of their folders damaged
at random; then the same command is given again. It must end in the same numbers and
bytes as a run that nothing happened to, or refuse by name what it cannot make again. A
traceback, another number, an orphan, or a stop that takes over 30 seconds would have
ended the command that made this page with an error.

"""
LEFT = ("program", "workdir", "file", "ended in")
DAMAGES = """\
The kind of file is drawn first, then the file, then one of seven damages: a flipped
bit, a cut, nothing, `null`, deep nesting, another file's bytes, removal."""


def main() -> None:
    """Parses the arguments and runs everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--programs", default=",".join(SHARES), help="that are killed")
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder of compiled programs")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no more")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    check_out_file(options.out, TITLE)
    deadline = time.monotonic() + 60 * options.minutes
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        if options.cache is not None:
            (folder / "cache").symlink_to(options.cache.absolute())
        kills = {
            program: kills_of(program, round(share * options.kills), folder, rng)
            for program, share in SHARES.items()
            if program in options.programs.split(",") and round(share * options.kills)
        }
        damages = {}
        if options.damages:
            damages = damages_of_run(options.damages, folder, rng, deadline)
    write_text(options.out, page(options, kills, damages))


def references(program: str, folder: Path) -> tuple[subjects.Subject, dict]:
    """A subject, and what it ends in when nothing happens to it."""
    made = {
        "main": subjects.main_subject,
        "reproduce": subjects.reproduce_subject,
        "prepare": lambda out: subjects.prepare_subject(
            out, subjects.source_of_photos(folder / "source")
        ),
    }[program]
    whole = made(folder / f"{program}-whole")
    code, _, errors = hurt.finish(whole, folder / "cache")
    if code:
        raise hurt.Unexpected(f"{program}: {errors}")
    return made(folder / program), subjects.result_of(whole)


def kills_of(program: str, count: int, folder: Path, rng) -> Counter:
    """Kills and stops of a program, by signal."""
    subject, expected = references(program, folder)
    counts = Counter()
    while sum(counts.values()) < count:
        few = min(EACH, count - sum(counts.values()))
        counts += hurt.kill_until_done(subject, few, rng, folder / "cache")
        if lines := subjects.difference(expected, subjects.result_of(subject)):
            raise hurt.Unexpected(f"{program}: another result after kills: {lines}")
        if left := hurt.orphans(subject.folder):
            raise hurt.Unexpected(f"{program}: processes {left} are left")
        shutil.rmtree(subject.folder)
        print(f"{program}: {dict(counts)}", flush=True)
    return counts


def damages_of_run(
    count: int, folder: Path, rng, deadline: float = float("inf")
) -> dict[str, dict[str, Counter]]:
    """Damages of a finished workdir and of one that was stopped halfway."""
    subject, cache = subjects.main_subject(folder / "damaged"), folder / "cache"
    finished = folder / "main-whole"
    if not finished.exists():
        references("main", folder)
    expected = subjects.result_of(subject._replace(folder=finished))
    half = folder / "main-half"
    process = subjects.start(subjects.main_subject(half).command, cache)
    while not (half / "evaluate" / "none-cgat" / "record.json").exists():
        if process.poll() is not None:
            raise hurt.Unexpected(process.communicate()[1])
    process.terminate()
    process.communicate()
    return {
        name: hurt.hurt_copies(subject, expected, whole, part, rng, cache, end)
        for name, whole, part, end in (
            ("finished", finished, count - count // 2, _middle(deadline)),
            ("half finished", half, count // 2, deadline),
        )
    }


def _middle(deadline: float) -> float:
    """Halfway from now to the deadline."""
    return (time.monotonic() + deadline) / 2


def page(options, kills: dict[str, Counter], damages: dict[str, dict]) -> str:
    """The result as Markdown."""
    made = provenance()
    names = sorted({name for counts in kills.values() for name in counts})
    lines = [INTRODUCTION.rstrip(), "", "## Kills and stops", ""]
    lines += table(
        ["program", *names, "ended in"],
        [
            [program, *(str(counts[name]) for name in names), "the same bytes"]
            for program, counts in kills.items()
        ],
    )
    lines += ["", "## Damaged files", "", DAMAGES, ""]
    outcomes = (SAME, ASIDE, REFUSED)
    lines += table(
        ["workdir", "file", *outcomes, "else"],
        [
            [name, kind, *(str(counts[outcome]) for outcome in outcomes), "0"]
            for name, kinds in damages.items()
            for kind, counts in sorted(kinds.items())
        ],
    )
    command = f"python -m tests.faults --kills={options.kills}"
    command += f" --damages={options.damages} --seed={options.seed}"
    today = datetime.date.today()
    lines += [
        "",
        f"Made by `{command} --out=docs/reliability.md` on {today}, commit "
        f"{made['commit']}, {made['device']}, jax {made['versions']['jax']}.",
    ]
    return "\n".join(lines) + "\n"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    rule = ["---" if c in LEFT else "---:" for c in header]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


if __name__ == "__main__":
    main()
