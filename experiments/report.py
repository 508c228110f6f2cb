"""Writes the report of finished or unfinished runs anew, from what they left.

    python -m experiments.report --workdir=runs/coco
    python -m experiments.report --workdir=runs/seed0 --workdir=runs/seed1
    python -m experiments.report --workdir=runs/cgat --workdir=runs/atrdh --out=both

Nothing is computed again. Of workdirs that differ in the seed alone, the tables hold
the mean over the seeds with the lowest and the highest value. Workdirs of other
defenses, losses, networks or training stand side by side in one table and in the same
figures, named by what tells them apart; an undefended network that several runs share
stands there once. Data and evaluation must be the same.

A folder for the report that holds other files is refused, and so is a damaged record.

Exit codes: 0 done, 2 nothing to report on (one line on what and where). Others:
docs/runs.md.
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
        "folder of a run; again for each other seed or setting",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out",
        None,
        "folder of the report; default: WORKDIR/report, and with several workdirs "
        "report-together in the first",
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
    default = "report" if len(workdirs) == 1 else "report-together"
    out = Path(values.out) if values.out else workdirs[0] / default
    print(write_reports(workdirs, out))
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("report", lambda: main(flags.FLAGS))
