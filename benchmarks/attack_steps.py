"""How many iterations an attack needs: MAP and time by the number of steps.

    python -m benchmarks.attack_steps --run=runs/quickstart \
        --out=docs/benchmarks/attack_steps.md

Attacks the networks of a finished run with each number of iterations, from short to
long, on its first ``--queries`` queries; nothing in the run is changed. The ``fast``
preset stops at the number from which more iterations change little.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.out_file import out_file, write_out
from cgat_jax import sharding
from cgat_jax.attacks import ATTACKS
from cgat_jax.data import load_dataset
from cgat_jax.evaluation import other_runs
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.report.tables import markdown_table
from cgat_jax.training import stages
from cgat_jax.training.initial_state import build_network
from experiments.xla import prefer_fast_cpu_convolutions

TITLE = "# Iterations of the attacks"
NAMES = "p2p,dhta,hag,sdha,cgat,saat,apgd,apgd_ap"
STEPS = "25,50,100,200,500,2000"


def measure(options: argparse.Namespace) -> list[list[str]]:
    """A row for each network and attack: MAP, and last the seconds, by iterations."""
    workdir = Path(options.run)
    config = other_runs.read_config(workdir)
    config.evaluate.num_queries = options.queries
    root = Path(config.data.root) if config.data.root else workdir / "data"
    dataset = load_dataset(config.data, root, progress=True)
    mesh = sharding.make_mesh()
    evaluator = Evaluator(config, dataset, mesh, workdir, lambda: None)
    model, rows = build_network(config, config.model.bits), []
    networks = stages.finished(config, dataset, mesh, workdir)
    for defense, network in networks.items():
        encoded = evaluator.encoded(defense, model, network)
        for name in options.attacks.split(","):
            given = evaluator.attacker.given(name, encoded)
            rows.append([defense, name])
            for steps in map(int, options.steps.split(",")):
                budget = dataclasses.replace(
                    budget_of(name, config.evaluate), steps=steps
                )
                start = time.perf_counter()
                result = evaluator.attacker.run(
                    name, encoded, given=given, budget=budget
                )
                seconds = time.perf_counter() - start
                found = evaluator.scorer.precision(result.codes, encoded.codes)
                rows[-1].append(f"{100 * np.mean(found):.2f}")
            rows[-1].append(f"{seconds:.0f}")
            print(*rows[-1], flush=True)
    return rows


def report(options: argparse.Namespace, rows: list[list[str]]) -> str:
    """The table as Markdown, with where it comes from."""
    origin, steps = provenance(), options.steps.split(",")
    versions = ", ".join(f"{k} {v}" for k, v in origin["versions"].items())
    return (
        f"{TITLE}\n\n"
        f"{origin['device']}; {versions}; commit {origin['commit']}.\n\n"
        f"MAP in percent by the number of iterations, on the first {options.queries} "
        "queries; the time is that of the longest run, compilation included. Where "
        "alpha is annealed, its schedule spans the iterations, however many.\n\n"
        + markdown_table(pd.DataFrame(rows, columns=["network", "attack", *steps, "s"]))
    )


def main() -> None:
    """Parses the options, measures and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="workdir of a finished run")
    parser.add_argument(
        "--out", type=out_file(TITLE), required=True, help="Markdown file to write"
    )
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--attacks", default=NAMES, help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--steps", default=STEPS)
    options = parser.parse_args()
    prefer_fast_cpu_convolutions()
    text = report(options, measure(options))
    write_out(options.out, text)


if __name__ == "__main__":
    main()
