"""Trains, defends, attacks and reports: the whole of a result with one command.

    python -m experiments.main --config=experiments/configs/quickstart.py \
        --workdir=runs/quickstart

The stages are backbone (only without given weights), pretrain, defend, evaluate and
report. The same command again goes on where it stopped, and does nothing when all is
done. Any setting can be overridden: --config.defense.weight=2.

Exit codes: 0 done, 2 refused (a line on what and where), 3 a number was not finite,
143 stopped by SIGTERM after a checkpoint.

Settings, with the defaults that a configuration file starts from:

"""

import sys
from pathlib import Path

from absl import flags, logging

from cgat_jax.config import Config
from cgat_jax.settings import validate
from cgat_jax.xla import prefer_fast_cpu_convolutions
from experiments import cli

EXIT_NOT_FINITE = 3
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; created")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "several hosts: call jax.distributed.initialize first"
)


def main() -> int:
    """Checks everything that can be wrong, then runs the stages."""
    logging.set_verbosity(logging.WARNING)
    if flags.FLAGS["config"].value is None:
        return cli.refuse("main", "--config is missing: expected a Python file")
    if not _WORKDIR.value:
        return cli.refuse("main", "--workdir is missing: expected a folder for the run")
    prefer_fast_cpu_convolutions()
    try:
        return run(flags.FLAGS.config, Path(_WORKDIR.value))
    except (ValueError, OSError) as error:
        return cli.refuse("main", error)


def run(config: Config, workdir: Path) -> int:
    """The stages of a checked configuration."""
    import jax  # after the flags that it reads when it starts

    from cgat_jax import devices, stages, training
    from cgat_jax.data import load_dataset
    from cgat_jax.references import needs_targets, target_labels
    from cgat_jax.stopping import StopSignal
    from cgat_jax.workdir import claim

    if not isinstance(config, Config):
        raise ValueError(f"--config: get_config() must return a Config, got {config!r}")
    validate(config)
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", config.compilation_cache)
    stages.check(config)
    claim(workdir, config)
    stop = StopSignal()
    stop.listen()
    root = Path(config.data.root) if config.data.root else workdir / "data"
    dataset = load_dataset(config.data, root, progress=True)
    if needs_targets(config):
        target_labels(config, dataset, workdir)
    try:
        networks = stages.train(config, dataset, devices.make_mesh(), workdir, stop)
        results = measure(config, dataset, workdir, networks, stop)
    except training.NonFiniteError as error:
        print(f"main: {error}", file=sys.stderr)
        return EXIT_NOT_FINITE
    return finish(workdir, results)


def measure(config: Config, dataset, workdir: Path, networks, stop) -> dict:
    """Evaluates every network; returns its records, transfers and sanity checks."""
    from cgat_jax import devices, stages, zoo
    from cgat_jax.evaluate import Evaluator
    from cgat_jax.start import build_network

    mesh = devices.make_mesh()
    evaluator = Evaluator(config, dataset, mesh, workdir, stop.check)

    def victims(settings: Config, found: dict, prefix: str = "") -> dict:
        model = build_network(settings, settings.model.bits)
        return {
            prefix + defense: evaluator.victim(prefix + defense, model, network)
            for defense, network in found.items()
        }

    own = victims(config, networks)
    records = [
        record
        for defense, victim in own.items()
        for record in evaluator.attacks(defense, victim)
    ]
    sources = dict(own)
    if config.pretrained and (
        config.evaluate.sanity_queries or config.evaluate.transfer
    ):
        folder = Path(config.pretrained)
        settings = zoo.read_config(folder)
        settings.defense.epochs = 0
        found = stages.finished(settings, dataset, mesh, folder)
        sources |= victims(settings, found, "pretrained.")
    for name, folder in zoo.source_workdirs(config).items():
        settings = zoo.read_config(folder)
        found = stages.finished(settings, dataset, mesh, folder)
        sources |= victims(settings, found, f"{name}.")
    return {
        "records": records,
        "transfers": evaluator.transfers(own, sources),
        "sanity": evaluator.examine(own, sources),
    }


def finish(workdir: Path, results: dict[str, list[dict]]) -> int:
    """Writes the results and the report, and prints the tables."""
    import jax

    from cgat_jax.report import sanity_lines, terminal_table, write_report
    from cgat_jax.workdir import write_json

    if jax.process_index() == 0:
        write_json(workdir / "results.json", results)
        page = write_report(workdir)
        print(terminal_table(results["records"]))
        for line in sanity_lines(results["sanity"]):
            print(line)
        print(f"\nreport: {page}")
    return 0


if __name__ == "__main__":
    cli.define_config(flags.FLAGS)
    sys.modules["__main__"].__doc__ += cli.settings_help() + "\n"
    cli.run("main", main)
