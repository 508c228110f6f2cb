"""What the alarm for unusual queries finds, and what an attacker who knows it leaves.

    python -m benchmarks.alarm --workdir=runs/quickstart --out=docs/search_alarm.md

Of the queries of a finished run, half calibrate the alarm and the other half is
attacked, drawn with seed 0; nothing in the run is changed. Adversarial images are
rounded to 8 bits, as a service receives them.
"""

import argparse
import dataclasses
import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

import cgat_jax
from benchmarks.alarm_attacks import evade, known
from benchmarks.out_file import out_file, write_out
from benchmarks.step_report import processor
from cgat_jax.alarm import Alarm, AlarmReport, label_set_centers
from cgat_jax.attacks import ATTACKS, resolve_budget
from cgat_jax.attacks.inputs import AttackSettings
from cgat_jax.attacks.references import LABELS, NOTHING
from cgat_jax.config import Config
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.images import center_crop
from cgat_jax.evaluation import other_runs
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.evaluation.references import References
from cgat_jax.report.tables import markdown_table
from cgat_jax.retrieval import average_precision_at, hamming_distances
from experiments.xla import prefer_fast_cpu_convolutions

TITLE = "# The alarm for unusual queries, measured"
NAMES = "noise,cgat,hag,apgd,apgd_anchor,dhta,square"
GOALS = ("away", "mimic")
WEIGHTS = "0.03,0.1"
ABOUT = """\
{date}, {machine}; {versions}; commit {commit}.
Command: `python -m benchmarks.alarm {command}`

An alarm is calibrated on {calibration} queries of the quickstart and measured on
{measured} others, drawn with seed 0; what it looks at was chosen on the first. Asked
for is a rate of false alarms of {rate:.3g} %. `raised` is the share of images that
raise it, in percent with a 95 % interval (Clopper and Pearson, over the measured
queries alone; of clean images it is the rate of false alarms, and other calibration
queries would move it as well). AUROC is that of its p-value against the clean
images'. MAP@{top_k} of all attacked images, of those that pass the alarm, and of the
same queries' clean images. Attacks have {epsilon} of 255 levels, {steps} iterations
at most (square: {square} queries), and give images of 8 bits.

`away` and `mimic` know the alarm: APGD of {adaptive} iterations through all its
views, with its statistics above the {aim:.0%} quantile of the clean ones as a
penalty, away from the center code or towards a database code of a foreign class (the
one nearest to that anchor code, of nine, which retrieves worst). The number is the
penalty's weight. `best adaptive` takes, for each query, of all {adaptives} the image
that passes the alarm and retrieves worst, as an attacker can who has the alarm and
the database, or the worst one if none passes. It bounds the harm from below: other
weights and more iterations were not tried on these queries."""


class Row(NamedTuple):
    """A line of the table; MAPs are NaN where no query is left."""

    network: str
    attack: str
    raised: int
    count: int
    auroc: float
    map: float
    passing: float
    passing_clean: float


class Subject:
    """A network with its alarm and the queries that are attacked."""

    def __init__(self, network: Network, config: Config, dataset: Dataset, rate: float):
        """Encodes the data and calibrates."""
        self.network, self.dataset, split = network, dataset, dataset.split
        self.batch, self.top_k = config.evaluate.batch_size, config.evaluate.top_k
        queries = self._pixels(split.query)
        self.codes = {
            "query": network.encode(queries, batch_size=self.batch),
            "database": self._codes(split.database),
            "train": self._codes(split.train),
        }
        order = np.random.default_rng(0).permutation(len(split.query))
        half = len(order) // 2
        clean, self.rows = np.sort(order[:half]), np.sort(order[half:])
        self.pixels = queries[self.rows]
        centers = label_set_centers(self.codes["train"], dataset.labels[split.train])
        self.alarm = Alarm.calibrate(
            network,
            queries[clean],
            self.codes["database"],
            centers,
            false_alarms=rate,
            batch_size=self.batch,
        )
        with tempfile.TemporaryDirectory() as folder:  # targets are drawn, not kept
            self.references = References(config, dataset, Path(folder), lambda: None)
            wanted = [name for name in ATTACKS if name in GIVEN]
            self.given = {
                name: self.references.of(name, self.codes).rows[self.rows]
                for name in wanted
            }
        self.clean = self.judge(self.pixels)

    def judge(self, pixels: np.ndarray) -> tuple[AlarmReport, np.ndarray]:
        """The alarm's report of the queries' images, and their average precision."""
        report = self.alarm(self.network, pixels, batch_size=self.batch)
        split, labels = self.dataset.split, self.dataset.labels
        precision = average_precision_at(
            report.codes,
            labels[split.query[self.rows]],
            self.codes["database"],
            labels[split.database],
            top_k=self.top_k,
        )
        return report, precision

    def attacked(self, name: str, steps: int) -> np.ndarray:
        """The queries' images under an attack that does not know the alarm."""
        kind, arguments = ATTACKS[name].references, {}
        if kind == LABELS:
            arguments["bank"] = self.references.bank(self.codes)
        made = cgat_jax.attack(
            name,
            self.network,
            self.pixels,
            None if kind == NOTHING else self.given[name],
            steps=None if name == "noise" else steps,
            settings=AttackSettings(round_images=True, batch_size=self.batch),
            **arguments,
        )
        return np.round(np.asarray(made) * 255).astype(np.uint8)

    def evaded(self, goal: str, weight: float, steps: int) -> np.ndarray:
        """The queries' images under an attack that knows the alarm."""
        database = self.codes["database"]
        references = self.given["apgd"]
        if goal == "mimic":
            anchors = self.given["apgd_anchor"]
            nearest = hamming_distances(anchors, database).argmin(axis=1)
            references = -database[nearest].astype(np.float32)
        budget = dataclasses.replace(resolve_budget("apgd"), steps=steps)
        return evade(
            self.network,
            known(self.alarm, database),
            self.pixels,
            references,
            weight,
            budget=budget,
            batch_size=self.batch,
        )

    def row(self, network: str, attack: str, found) -> Row:
        """The line of an attack, from what ``judge`` found."""
        (report, precision), (before, clean) = found, self.clean
        odd, usual = 1 - report.p_value, 1 - before.p_value
        larger = (odd[:, None] > usual[None]).mean()
        auroc = larger + (odd[:, None] == usual[None]).mean() / 2
        passing = ~report.raised
        maps = [
            values.mean() if len(values) else np.nan
            for values in (precision[passing], clean[passing])
        ]
        counts = int(report.raised.sum()), len(passing)
        return Row(network, attack, *counts, auroc, precision.mean(), *maps)

    def _codes(self, positions: np.ndarray) -> np.ndarray:
        parts = np.array_split(positions, -(-len(positions) // 500))
        pixels = map(self._pixels, parts)
        return np.concatenate([self.network.encode(part) for part in pixels])

    def _pixels(self, positions: np.ndarray) -> np.ndarray:
        side = self.network.card["crop_size"]
        read = self.dataset.read
        return np.stack([center_crop(read(int(i)), side) for i in positions])


GIVEN = ("cgat", "sdha", "saat", "apgd", "apgd_ap", "apgd_anchor", "square", "dhta")


def measure(
    name: str,
    subject: Subject,
    options: argparse.Namespace,
    show: Callable[[Row], object] = print,
) -> list[Row]:
    """The lines of a network: clean, attacked, attacked by who knows the alarm."""
    rows, tried = [], []

    def add(attack: str, found) -> None:
        rows.append(subject.row(name, attack, found))
        show(rows[-1])

    add("clean", subject.clean)
    for attack in options.attacks.split(","):
        steps = options.square if attack == "square" else options.steps
        add(attack, subject.judge(subject.attacked(attack, steps)))
    for goal in GOALS:
        for weight in map(float, options.weights.split(",")):
            images = subject.evaded(goal, weight, options.adaptive)
            tried.append(subject.judge(images))
            add(f"{goal} {weight:g}", tried[-1])
    add("best adaptive", best_of(tried))
    return rows


def best_of(tried: list[tuple[AlarmReport, np.ndarray]]):
    """Of several runs, each query's worst that passes the alarm, or its worst."""
    precision = np.stack([found for _, found in tried])
    raised = np.stack([report.raised for report, _ in tried])
    chosen = (precision + 2 * raised).argmin(axis=0)  # a precision is 1 at most

    def of(values: list[np.ndarray]) -> np.ndarray:
        return np.stack(values)[chosen, np.arange(len(chosen))]

    report = tried[0][0]._replace(
        raised=of([report.raised for report, _ in tried]),
        p_value=of([report.p_value for report, _ in tried]),
    )
    return report, of([found for _, found in tried])


def table(rows: list[Row]) -> str:
    """The lines as Markdown."""
    lines = []
    for row in rows:
        low, high = binomtest(row.raised, row.count).proportion_ci(method="exact")
        raised = f"{100 * row.raised / row.count:.1f}"
        maps = [f"{100 * x:.2f}" for x in (row.map, row.passing, row.passing_clean)]
        maps = ["-" if x == "nan" else x for x in maps]
        interval = f"{raised} ({100 * low:.1f}–{100 * high:.1f})"
        lines.append([row.network, row.attack, interval, f"{row.auroc:.3f}", *maps])
    header = ["network", "attack", "raised", "AUROC", "MAP", "passing", "their clean"]
    return markdown_table(pd.DataFrame(lines, columns=header))


def findings(rows: list[Row]) -> str:
    """What the table shows, a sentence for each network, and what follows."""
    lines, evaded = [], False
    for name in dict.fromkeys(row.network for row in rows):
        own = {row.attack: row for row in rows if row.network == name}
        clean, best = own["clean"], own["best adaptive"]
        plain = [x for x in own if ATTACKS.get(x) and x != "noise"]
        shares = [100 * own[x].raised / own[x].count for x in plain]
        lines.append(
            f"- `{name}`: {100 * clean.raised / clean.count:.1f} % of clean queries "
            f"raise the alarm. Attacks that do not know it ({', '.join(plain)}) are "
            f"found at {min(shares):.1f} to {max(shares):.1f} %. The best adaptive "
            f"attack passes with {100 - 100 * best.raised / best.count:.1f} % of the "
            f"queries, whose MAP is {100 * best.passing:.2f} where it was "
            f"{100 * best.passing_clean:.2f}."
        )
        passed = best.count - best.raised
        evaded |= 2 * passed > best.count and best.passing < 0.9 * best.passing_clean
    if evaded:
        lines.append(
            "\nSo the alarm is no defense: who knows it, passes it with most queries "
            "and still does harm. It tells of attacks that were made without it, and "
            "has an attacker pay for passing it with part of the harm."
        )
    return "\n".join(lines)


def report(options: argparse.Namespace, config: Config, sizes, rows: list[Row]) -> str:
    """The page: where it comes from, what is in it, what it shows, the table."""
    from benchmarks import alarm_attacks

    origin = provenance()
    versions = "cgat_jax", "jax", "numpy"
    about = ABOUT.format(
        date=datetime.date.today(),
        machine=processor(),
        versions=", ".join(f"{name} {origin['versions'][name]}" for name in versions),
        commit=origin["commit"],
        command=f"--workdir=RUN --attacks={options.attacks} --out=search_alarm.md",
        calibration=sizes[0],
        measured=sizes[1],
        rate=100 * options.false_alarms,
        top_k=config.evaluate.top_k,
        epsilon=f"{255 * 8 / 255:g}",
        steps=options.steps,
        square=options.square,
        adaptive=options.adaptive,
        adaptives=len(GOALS) * len(options.weights.split(",")),
        aim=alarm_attacks.AIM,
    )
    return f"{TITLE}\n\n{about}\n\n{findings(rows)}\n\n{table(rows)}"


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, help="of a finished run")
    parser.add_argument("--out", type=out_file(TITLE), required=True)
    parser.add_argument("--false_alarms", type=float, default=0.05)
    parser.add_argument("--attacks", default=NAMES, help=f"of {', '.join(GIVEN)}")
    parser.add_argument("--steps", type=int, default=100, help="iterations")
    parser.add_argument("--square", type=int, default=1000, help="queries of square")
    parser.add_argument("--adaptive", type=int, default=60, help="iterations")
    parser.add_argument("--weights", default=WEIGHTS, help="of the penalty")
    return parser


def main() -> None:
    """Parses the options, measures and writes the page."""
    options = arguments().parse_args()
    prefer_fast_cpu_convolutions()
    workdir = Path(options.workdir)
    config = other_runs.read_config(workdir)
    root = Path(config.data.root) if config.data.root else workdir / "data"
    dataset = load_dataset(config.data, root, progress=True)
    rows = []
    for defense in ("none", config.defense.name):
        network = cgat_jax.load_network(workdir, defense=defense)
        subject = Subject(network, config, dataset, options.false_alarms)
        rows += measure(defense, subject, options, lambda row: print(row, flush=True))
    sizes = len(subject.alarm.content.clean), len(subject.rows)
    write_out(options.out, report(options, config, sizes, rows))


if __name__ == "__main__":
    main()
