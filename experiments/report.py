"""Writes the report of finished or unfinished runs anew, from what they left.

    python -m experiments.report --workdir=runs/coco
    python -m experiments.report --workdir=runs/seed0 --workdir=runs/seed1

Nothing is computed again. Several workdirs must differ in the seed alone: the tables
then hold the mean over the seeds with the lowest and the highest value.

Exit codes: 0 done, 2 nothing to report on (one line on what and where).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from cgat_jax.report import write_reports


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    flags.DEFINE_multi_string(
        "workdir",
        None,
        "folder of a run; again for each other seed",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out",
        None,
        "folder of the report; default: WORKDIR/report, and with several workdirs "
        "report-seeds in the first",
        flag_values=values,
    )


def main(values: flags.FlagValues) -> int:
    """Writes the report and prints where it is."""
    if not values.workdir:
        return _refuse("--workdir is missing: expected the folder of a run")
    workdirs = [Path(name) for name in values.workdir]
    for workdir in workdirs:
        if not workdir.is_dir():
            return _refuse(f"--workdir: no folder {str(workdir)!r}")
    default = "report" if len(workdirs) == 1 else "report-seeds"
    out = Path(values.out) if values.out else workdirs[0] / default
    try:
        page = write_reports(workdirs, out)
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    print(page)
    return 0


def _parse(arguments: Sequence[str]) -> list[str]:
    """Reads the flags; an unknown one ends the program as other errors do."""
    try:
        rest = flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(_refuse(str(error)))
    if len(rest) > 1:
        sys.exit(_refuse(f"unexpected argument {rest[1]!r}; known: --workdir, --out"))
    return rest


def _refuse(text: str) -> int:
    print("report:", " ".join(text.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    app.run(lambda _: main(flags.FLAGS), flags_parser=_parse)
