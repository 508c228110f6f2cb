r"""Trains, defends, attacks and reports: the whole of a result with one command.

    python -m experiments.main --config=experiments/configs/quickstart.py \
        --workdir=runs/quickstart

The stages are backbone (only without given weights), pretrain, defend, evaluate and
report. The same command again goes on where it stopped, and does nothing when all is
done. Any setting can be overridden: --config.defense.weight=2. The trained networks are
WORKDIR/pretrain/network.safetensors and WORKDIR/defend/network.safetensors; to use one,
cgat_jax.load_network(WORKDIR, defense=NAME).

Exit codes: 0 done, 2 refused (a line on what and where), 3 a number was not finite;
130, 143 and 129: stopped by Ctrl-C, SIGTERM or SIGHUP, after a checkpoint.

Settings, with the defaults that a configuration file starts from:

"""

import contextlib
import dataclasses
import functools
import os
import sys
from pathlib import Path

from absl import flags, logging

from cgat_jax.config import Config
from cgat_jax.errors import InputError, is_out_of_memory
from cgat_jax.training.interrupts import PARENT
from experiments import cli
from experiments.xla import prefer_fast_cpu_convolutions

_CELL_PATIENCE = 40.0  # for the cell of a table whose earlier process is ending
_NODE_PATIENCE = 120.0  # for the lock of a node that died: NFS gives it up in 90 s
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; created")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "this is one of several processes, on one or several hosts"
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", "", "HOST:PORT of process 0; empty: as the cluster says"
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "with --coordinator")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "with --coordinator, from 0")


def main() -> int:
    """Checks everything that can be wrong, then runs the stages."""
    logging.set_verbosity(logging.WARNING)
    if flags.FLAGS["config"].value is None:
        return cli.refuse("main", "--config is missing: expected a Python file")
    if not _WORKDIR.value:
        return cli.refuse("main", "--workdir is missing: expected a folder for the run")
    prefer_fast_cpu_convolutions()
    config, workdir = flags.FLAGS.config, Path(_WORKDIR.value)
    with cli.stop().deferred():  # nothing of JAX is to be cut off in the middle
        join()
        settle(config, workdir)
        check(config, workdir)
        with claimed(workdir), out_of_memory():
            return run(config, workdir)


@contextlib.contextmanager
def out_of_memory():
    """A device without memory for more is no mistake of ours: one line."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        text = "on the device: lower the batch sizes ("
        raise MemoryError(f"{text}{' '.join(str(error).split())[:160]})") from error


def join() -> None:
    """Joins the other processes, if there are any.

    Raises:
        InputError: the flags do not belong together, or there is nobody.
    """
    given = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    if not _DISTRIBUTED.value:
        if given != ("", None, None):
            raise InputError(
                "--coordinator, --num_processes and --process_id are of --distributed"
            )
        return
    from cgat_jax import processes

    processes.start(*given)


def settle(config: Config, workdir: Path) -> None:
    """Fills in the settings that are left open for photos, and says how and why.

    Raises:
        ValueError, OSError: what is wrong with the photos, or with what is not open.
    """
    from cgat_jax import processes
    from cgat_jax.config.loading import override
    from cgat_jax.evaluation import chosen, first_checks

    if not chosen.open_settings(config):
        return
    with processes.together():
        first_checks.check_others(config, workdir)
    values, lines = processes.from_first(
        lambda: [*chosen.settle(config, workdir, cli.stop().raised)]
    )
    override(config, values)
    if lines and processes.is_first():
        print("\n".join(lines), flush=True)


def check(config: Config, workdir: Path) -> None:
    """Checks all that needs no data, and writes nothing.

    Raises:
        ValueError, OSError: what is wrong, and what to do.
    """
    import jax  # after the flags that it reads when it starts

    from cgat_jax import processes
    from cgat_jax.evaluation import preflight
    from cgat_jax.files.ownership import check_folder
    from cgat_jax.report.writer import is_report
    from cgat_jax.workdir import check_workdir, has_begun

    with processes.together():
        check_workdir(workdir, config)
        check_folder(workdir / "report", "report", is_own=is_report)
        if config.compilation_cache:
            jax.config.update("jax_compilation_cache_dir", config.compilation_cache)
        preflight.check_settings(config, is_new=not has_begun(workdir))


@contextlib.contextmanager
def claimed(workdir: Path):
    """The workdir, ours and of no other process; gone again if nothing came of it."""
    from cgat_jax import processes
    from cgat_jax.files.claimed import claimed_folder
    from cgat_jax.workdir import claim_workdir

    patience = _CELL_PATIENCE if PARENT in os.environ else 0.0
    if patience and "SLURM_JOB_ID" in os.environ:
        patience = _NODE_PATIENCE

    def waiting(who: str) -> None:
        print(f"main: {who}", file=sys.stderr)

    hold = claimed_folder(workdir, claim_workdir, patience=patience, waiting=waiting)
    with contextlib.ExitStack() as stack:
        with processes.together():
            if processes.is_first():  # it holds the workdir for all
                stack.enter_context(hold)
        yield


def run(config: Config, workdir: Path) -> int:
    """The stages of a checked configuration, in a workdir that is ours."""
    from cgat_jax import processes, progress, sharding
    from cgat_jax.data import degeneracies
    from cgat_jax.evaluation import data_checks
    from cgat_jax.evaluation.provenance import provenance
    from cgat_jax.training import stages
    from cgat_jax.workdir import check_workdir, remember
    from experiments import opening

    again = functools.partial(check_workdir, workdir, config)
    processes.from_first(again)  # another run may have been faster
    dataset = load_data(config, workdir)
    mesh, first = sharding.make_mesh(), processes.is_first()
    made_of = data_checks.made_of(config, dataset, mesh)
    processes.from_first(lambda: remember(workdir, config, made_of))
    if first:
        for text in degeneracies(dataset.labels, dataset.split, dataset.contents):
            print(f"main: warning: {text}", file=sys.stderr)
    stop, costs = cli.stop(), opening.costs(config, dataset)
    if first:
        print("\n".join(opening.lines(config, dataset, workdir, costs)), flush=True)
    with progress.run(costs, shown=first):
        networks = stages.train(config, dataset, mesh, workdir, stop, provenance())
        with progress.stage("evaluate"):
            results = measure(config, dataset, workdir, networks, stop)
    return finish(workdir, results)


def load_data(config: Config, workdir: Path):
    """The data, prepared if need be, and checked for what a run does with them.

    Raises:
        ValueError, OSError: what is wrong with the data or cannot work with them.
    """
    from cgat_jax import processes
    from cgat_jax.data import load_dataset
    from cgat_jax.evaluation import data_checks

    root = Path(config.data.root) if config.data.root else workdir / "data"
    settings, first = config.data, None
    with processes.together(), cli.stop().raised():  # no JAX in it, it may take hours
        if processes.is_first():
            first = load_dataset(settings, root, progress=True)
            data_checks.check_data(config, first)
    if first is None:  # it is prepared by now
        settings = dataclasses.replace(settings, source="", splits="")
    with processes.together():
        dataset = first or load_dataset(settings, root, progress=False)
    data_checks.check_same(dataset)
    return dataset


def measure(config: Config, dataset, workdir: Path, networks, stop) -> dict:
    """Evaluates every network; returns its records, transfers and sanity checks."""
    from cgat_jax import processes, sharding
    from cgat_jax.evaluation.evaluator import Evaluator
    from cgat_jax.evaluation.measurement import measure
    from cgat_jax.evaluation.other_runs import other_networks
    from cgat_jax.training.initial_state import build_network

    mesh = sharding.make_mesh()
    check_stop = functools.partial(processes.check_stop, stop)
    saving = functools.partial(stop.deferred, saving=True)
    evaluator = Evaluator(config, dataset, mesh, workdir, check_stop, saving)
    model = build_network(config, config.model.bits)
    own = {defense: (model, network) for defense, network in networks.items()}
    return measure(evaluator, own, other_networks(config, dataset, mesh))


def finish(workdir: Path, results: dict[str, list[dict]]) -> int:
    """Writes the results and the report, and prints the tables."""
    from cgat_jax import processes
    from cgat_jax.evaluation.trained_networks import note_records
    from cgat_jax.files.io import write_sealed
    from cgat_jax.report import closing, write_report

    def write() -> None:
        write_sealed(workdir / "results.json", results)
        note_records(workdir, results["records"])
        page = write_report(workdir)
        print(f"\n{closing(results)}\nreport: {page}")

    processes.from_first(write)
    return 0


if __name__ == "__main__":
    cli.define_config(flags.FLAGS)
    sys.modules["__main__"].__doc__ += cli.settings_help() + "\n"
    cli.run("main", main)
