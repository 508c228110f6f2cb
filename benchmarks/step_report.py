"""The tables of ``benchmarks.step``."""

import argparse
import dataclasses
import datetime
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import peers

_RATIOS = "min", "pair", "cpu"
TITLE = "# Training steps and an attack, against PyTorch"
_COUNT = """\
A forward pass of the batch costs F floating point operations (XLA's count of the
program as written, in evaluation). Counted are 2F for an iteration of an attack, 6F for
the training on two batches and 3F for that on one: with T iterations (2T + 6)F for a
CgAT step, 3F for a pretraining step, 2TF for an attack. Center codes, loss and
optimizer are not counted. The peak is each library's own best product of two matrices
of 2048 x 2048 in this run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One case: seconds by job, side, clock and round, and what it takes to judge."""

    network: str
    batch: int
    precision: str
    attack_steps: int
    forward_flops: float
    compile_seconds: float
    times: dict[str, dict[str, dict[str, list[float]]]]
    load: dict[str, float]

    @property
    def title(self) -> str:
        """Network, image size, batch, and the precision if it is not float32."""
        size = peers.SCALES[self.network].image_size
        title = f"{self.network}@{size} b{self.batch}"
        return title if self.precision == "float32" else f"{title} {self.precision}"

    def flops(self, job: str) -> float:
        """Operations of a job, by the count that the report explains."""
        if job == "matmul":
            return 2.0 * peers.MATMUL_SIZE**3
        passes = {
            "CgAT step": 2 * peers.CRAFTING["steps"] + 6,
            "pretraining step": 3,
        }
        return self.forward_flops * passes.get(job, 2 * self.attack_steps)

    def best(self, job: str, side: str, clock: str = "wall") -> float:
        """Seconds of the best round."""
        return min(self.times[job][side][clock])


def render(
    results: list[Measured],
    about: dict[str, dict],
    options: argparse.Namespace,
    average: tuple[float, float, float],
) -> str:
    """The Markdown report of a run; no path of the machine is in it.

    Args:
        results: the cases.
        about: what each worker said about itself.
        options: the command line.
        average: the load averages before the run.
    """
    jobs = _job_table(results)
    loops = _loop_table(results)
    head = _head(results, about, options, average)
    return "\n\n".join([head, jobs, _COUNT, _compile_table(results), *loops]) + "\n"


def _head(results, about, options, average) -> str:
    ours, peer = about["jax"], about.get("torch")
    versions = ", ".join(f"{k} {v}" for k, v in ours["versions"].items())
    command = " ".join(["python -m benchmarks.step", *map(without_path, sys.argv[1:])])
    torch = "PyTorch: not timed."
    if peer:
        torch = f"PyTorch {peer['torch']}, {peer['threads']} threads"
        torch += f", {options.torch_layout}, eager, torch.optim.SGD."
    wall = sum(result.load["wall"] for result in results)
    others = sum(result.load["others"] for result in results) / wall
    return f"""\
{TITLE}

{datetime.date.today()}, {processor()}, device {ours["device"]}. {versions}; commit
{ours["commit"]}; XLA_FLAGS="{ours["flags"]}". {torch}
Command: `{command}`

Seconds of the best of {options.rounds} rounds; JAX and PyTorch took turns in processes
of their own. Ratios are JAX / PyTorch, below 1 where JAX is faster: "min" of the best
rounds, "pair" the median round by round, "cpu" of the least CPU seconds, in which
threads that spin count. Load average before the run: {average[0]:.1f}; during the timed
rounds, other processes used {others:.2f} cores on average."""


def without_path(argument: str) -> str:
    """An argument of a command line; of an absolute path its last part alone."""
    name, equals, value = argument.rpartition("=")
    path = Path(value).expanduser()
    return f"{name}{equals}{path.name}" if path.is_absolute() else argument


def processor() -> str:
    """The cores that this process may use, and their name."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    lines = [line.partition(":") for line in info.read_text().splitlines()]
    named = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    usable = len(os.sched_getaffinity(0))
    return f"{usable} of {len(named)} cores {named[0]}" if named else platform.machine()


def _peaks(results, precision) -> dict[str, float]:
    """Operations a second of the best matrix product, by side."""
    same = [result for result in results if result.precision == precision]
    return {
        side: max(r.flops("matmul") / r.best("matmul", side) for r in same)
        for side in same[0].times["matmul"]
    }


def _job_table(results) -> str:
    header = "case", "job", "JAX, s", "PyTorch, s", *_RATIOS
    rows = []
    for result in results:
        peaks = _peaks(results, result.precision)
        for job, sides in result.times.items():
            if not job.startswith("PGD"):
                rows.append(
                    [result.title, job, *_comparison(result, job, sides, peaks)]
                )
    return _table([*header, "JAX, % of own matmul", "PyTorch, % of own matmul"], rows)


def _comparison(result, job, sides, peaks) -> list[str]:
    seconds, shares = {}, {}
    for side, peak in peaks.items():
        seconds[side] = f"{result.best(job, side):.4g}"
        rate = result.flops(job) / result.best(job, side)
        shares[side] = f"{100 * rate / peak:.0f}"
        if job == "matmul":
            shares[side] = f"{rate / 1e9:.0f} GFLOP/s"
    ratios = ["-"] * 3
    if "torch" in sides:
        ratios = _ratios(sides["jax"], sides["torch"])
    names = "jax", "torch"
    columns = [
        [values.get(name, "-") for name in names] for values in (seconds, shares)
    ]
    return [*columns[0], *ratios, *columns[1]]


def _ratios(ours, theirs) -> list[str]:
    """Of the best rounds, the median round by round, and of the best CPU seconds."""
    pairs = zip(ours["wall"], theirs["wall"], strict=True)
    ratios = [
        min(ours["wall"]) / min(theirs["wall"]),
        statistics.median(a / b for a, b in pairs),
        min(ours["cpu"]) / min(theirs["cpu"]),
    ]
    return [f"{ratio:.2f}" for ratio in ratios]


def _compile_table(results) -> str:
    rows = [[r.title, f"{r.compile_seconds:.1f}"] for r in results]
    return _table(["case", "tracing and compiling the CgAT step, s"], rows)


def _loop_table(results) -> list[str]:
    rows = []
    for result in results:
        if "PGD loop" not in result.times:
            continue
        loop, unrolled = (result.times[f"PGD {n}"]["jax"] for n in ("loop", "unrolled"))
        best = (f"{min(times['wall']):.3g}" for times in (loop, unrolled))
        rows.append([result.title, *best, *_ratios(loop, unrolled)])
    steps = peers.CRAFTING["steps"]
    header = "case", f"PGD, {steps} iterations, in a loop, s", "unrolled, s"
    return [_table([*header, *_RATIOS], rows)] if rows else []


def _table(header: list[Any], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
