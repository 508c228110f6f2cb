"""Writes the report of finished or unfinished runs anew, from what they left.

    python -m experiments.report --workdir=runs/coco
    python -m experiments.report --workdir=runs/seed0 --workdir=runs/seed1

Nothing is computed again. Several workdirs must differ in the seed alone: the tables
then hold the mean over the seeds with the lowest and the highest value.

A folder for the report that holds other files is refused, and so is a damaged record.

Exit codes: 0 done, 2 nothing to report on (one line on what and where).
"""

from pathlib import Path

from absl import flags

from cgat_jax.report import write_reports
from experiments import cli


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
        return cli.refuse(
            "report", "--workdir is missing: expected the folder of a run"
        )
    workdirs = [Path(name) for name in values.workdir]
    for workdir in workdirs:
        if not workdir.is_dir():
            return cli.refuse("report", f"--workdir: no folder {str(workdir)!r}")
    default = "report" if len(workdirs) == 1 else "report-seeds"
    out = Path(values.out) if values.out else workdirs[0] / default
    print(write_reports(workdirs, out))
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("report", lambda: main(flags.FLAGS))
