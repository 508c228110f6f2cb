"""Runs the faults and writes what came of them as Markdown.

python -m tests.faults --kills=100 --damages=100 --seed=0 --out=docs/reliability.md
"""

import argparse
import datetime
import functools
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.files.io import SEAL, read_json, unsealed, write_sealed, write_text
from cgat_jax.files.ownership import check_out_file
from tests.faults import hurt, subjects
from tests.faults.hurt import ASIDE, NAMED, REFUSED, SAME

SHARES = {"reproduce": 0.1, "main": 0.2, "prepare": 0.7}
EACH = 10  # kills of a program before it is let finish
TITLE = "# Reliability"
INTRODUCTION = """\
# Reliability

Programs are killed and stopped at random moments, and files of their folders damaged
at random; then the same command is given again. It must end in the same records, codes,
curves and last checkpoint as a run that nothing happened to (prepared data in the same
bytes), or refuse by name what it cannot make again. A traceback, another number, an
orphan, or a stop that takes over 30 seconds would have ended the command that made this
page with an error.

"""
LEFT = ("program", "workdir", "file", "ended in")
DAMAGES = """\
The kind of file is drawn first, then the file, then one of seven damages: a flipped
bit, a cut, nothing, `null`, deep nesting, another file's bytes, removal. Training
curves are a log: nothing makes them again, and the page names what is missing."""


def main() -> None:
    """Parses the arguments, runs what is not on record yet, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder of compiled programs")
    parser.add_argument("--records", type=Path, help="JSON file, to go on from")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    records = options.records or options.out.with_suffix(".json")
    try:
        check_out_file(options.out, TITLE)
        on_record(records)
    except (InputError, OSError) as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        if options.cache is not None:
            (folder / "cache").symlink_to(options.cache.absolute())
        found = {}
        for part, (count, run) in parts(options, folder).items():
            key = f"{part}, seed {options.seed}"
            done = total(on_record(records).get(key, {}).get("counts", {}))
            for more in run(done) if done < count else ():
                record(records, key, more)
            found[part] = on_record(records)[key]
    write_text(options.out, page(options, found))


def parts(options, folder: Path) -> dict[str, tuple[int, Callable]]:
    """What there is to do, by what it is called in the records: how often, and how.

    Called with how many are done, it does the rest and yields what came of each few.
    """
    done = {}
    for number, (program, share) in enumerate(SHARES.items()):
        count = round(share * options.kills)
        run = functools.partial(
            kills_of, program, count, folder, (options.seed, number)
        )
        done[f"{count} kills of {program}"] = count, run
    half = options.damages // 2
    for number, (state, count) in enumerate(
        {"finished": options.damages - half, "half finished": half}.items(), len(SHARES)
    ):
        seed = (options.seed, number)
        run = functools.partial(damages_of_run, state, count, folder, seed)
        done[f"{count} damages of a {state} workdir"] = count, run
    return done


def on_record(path: Path) -> dict[str, dict]:
    """What came of each part before, and what it was made with.

    Raises:
        InputError: the file is damaged, or not one of these.
    """
    if not os.path.lexists(path):
        return {}
    known = read_json(path)
    if SEAL not in known or not all(", seed " in key for key in known.keys() - {SEAL}):
        raise ForeignFilesError(f"{path}: was not made by this program; choose another")
    return unsealed(known, path)


def record(path: Path, key: str, more: dict) -> None:
    """Adds to what came of a part."""
    made = provenance()
    how = {"commit": made["commit"], "device": made["device"]}
    how |= {"jax": made["versions"]["jax"], "date": str(datetime.date.today())}
    known = on_record(path)
    before = known.get(key, {"counts": {}, "made": how})
    for name, value in before["made"].items():  # all that it was made with
        how[name] = value if how[name] in value else f"{value}, {how[name]}"
    entry = {"counts": added(before["counts"], more), "made": how}
    write_sealed(path, known | {key: entry})


def added(counts: dict, more: dict) -> dict:
    """Two counts, or counts of counts, as one."""
    both = dict(counts)
    for name, value in more.items():
        inner = isinstance(value, dict)
        before = both.get(name, {} if inner else 0)
        both[name] = added(before, value) if inner else before + value
    return both


def total(counts: dict) -> int:
    """How many faults there are in counts, or in counts of counts."""
    return sum(total(x) if isinstance(x, dict) else x for x in counts.values())


def references(program: str, folder: Path) -> tuple[subjects.Subject, dict]:
    """A subject, and what it ends in when nothing happens to it."""
    made = {
        "main": subjects.main_subject,
        "reproduce": subjects.reproduce_subject,
        "prepare": lambda out: subjects.prepare_subject(
            out, subjects.source_of_photos(folder / "source")
        ),
    }[program]
    subject = made(folder / program)  # in the same place: a cell's settings have paths
    code, _, errors = hurt.finish(subject, folder / "cache")
    if code:
        raise hurt.Unexpected(f"{program}: {errors}")
    expected = subjects.result_of(subject)
    subject.folder.rename(folder / f"{program}-whole")
    return subject, expected


def kills_of(
    program: str, count: int, folder: Path, seed: tuple[int, ...], done: int = 0
) -> Iterator[Counter]:
    """Kills and stops of a program, by signal; each few of them end in a result."""
    subject, expected = references(program, folder)
    while done < count:
        few, rng = min(EACH, count - done), np.random.default_rng([*seed, done])
        counts = hurt.kill_until_done(subject, few, rng, folder / "cache")
        if lines := subjects.difference(expected, subjects.result_of(subject)):
            raise hurt.Unexpected(f"{program}: another result after kills: {lines}")
        if left := hurt.orphans(subject.folder):
            raise hurt.Unexpected(f"{program}: processes {left} are left")
        shutil.rmtree(subject.folder)
        done += few
        print(f"{program}, {done} of {count}: {dict(counts)}", flush=True)
        yield counts


def damages_of_run(
    state: str, count: int, folder: Path, seed: tuple[int, ...], done: int = 0
) -> Iterator[dict[str, Counter]]:
    """Damages of a workdir that is finished, or was stopped halfway: kind, outcome."""
    subject, cache = subjects.main_subject(folder / "damaged"), folder / "cache"
    whole = folder / "main-whole"
    if not whole.exists():
        references("main", folder)
    expected = subjects.result_of(subject._replace(folder=whole))
    if state == "half finished":
        whole = half_finished(folder / "main-half", cache)
    for number in range(done, count):
        rng = np.random.default_rng([*seed, number])
        kind, outcome, line = hurt.hurt_copy(subject, expected, whole, rng, cache)
        print(f"{number + 1} of {count}: {line}: {outcome}", flush=True)
        yield {kind: Counter({outcome: 1})}


def half_finished(half: Path, cache: Path) -> Path:
    """A run that was stopped when it had measured something."""
    process = subjects.start(subjects.main_subject(half).command, cache)
    while not (half / "evaluate" / "none-cgat" / "record.json").exists():
        if process.poll() is not None:
            raise hurt.Unexpected(process.communicate()[1])
        time.sleep(0.01)
    process.terminate()
    process.communicate()
    return half


def page(options, found: dict[str, dict]) -> str:
    """The result as Markdown."""
    kills = {
        part.split()[-1]: entry["counts"]
        for part, entry in found.items()
        if " kills of " in part
    }
    names = sorted({name for counts in kills.values() for name in counts})
    lines = [INTRODUCTION.rstrip(), "", "## Kills and stops", ""]
    lines += table(
        ["program", *names, "ended in"],
        [
            [program, *(str(counts.get(name, 0)) for name in names), "the same bytes"]
            for program, counts in kills.items()
        ],
    )
    lines += ["", "## Damaged files", "", DAMAGES, ""]
    outcomes = (SAME, ASIDE, NAMED, REFUSED)
    lines += table(
        ["workdir", "file", *outcomes, "else"],
        [
            [state, kind, *(str(counts.get(x, 0)) for x in outcomes), "0"]
            for state in ("finished", "half finished")
            for part, entry in found.items()
            if part.endswith(f" of a {state} workdir")
            for kind, counts in sorted(entry["counts"].items())
        ],
    )
    command = f"python -m tests.faults --kills={options.kills}"
    command += f" --damages={options.damages} --seed={options.seed}"
    lines += ["", f"Made by `{command} --out=docs/reliability.md`, part by part:", ""]
    lines += [f"- {part}: {_how(entry['made'])}" for part, entry in found.items()]
    return "\n".join(lines) + "\n"


def _how(made: dict[str, str]) -> str:
    return (
        f"{made['date']}, commit {made['commit']}, {made['device']}, jax {made['jax']}"
    )


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    rule = ["---" if c in LEFT else "---:" for c in header]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


if __name__ == "__main__":
    main()
