"""Times losses, defenses and options against plain CgAT with DPSH, in one process.

    python -m benchmarks.training [--rounds 5] [--out FILE]

First, whole steps of ``small`` at the quickstart's size (48 pixels, batch 64, a bank of
4,000 codes of 32 bits, 10 classes): each loss in CgAT, each defense and each option
with DPSH. Second, at the size of the paper's largest bank (N = 10,500, K = 64, C = 80,
batch 32), what two center codes and each loss with its gradient take by themselves, and
one refresh of DSDH, as a share of CgAT's step and epoch with VGG11. That step is timed
at batch 2 and multiplied by 16: an estimate, a little too long.

Variants take turns; the ratio is that of the best rounds.
"""

import argparse
import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from benchmarks.out_file import out_file, write_out
from cgat_jax import sharding
from cgat_jax.centers import center_codes
from cgat_jax.config import Defense
from cgat_jax.defenses import make_defense_step, start_defense
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.losses import LOSSES, make_loss
from cgat_jax.models import make_model
from cgat_jax.report.tables import markdown_table
from cgat_jax.training import loop
from cgat_jax.training.initial_state import new_state
from cgat_jax.training.optimizer import make_optimizer
from cgat_jax.types import Bank, Batch
from experiments.xla import prefer_fast_cpu_convolutions

TITLE = "# Losses, defenses and options against plain CgAT with DPSH"
PLAIN = "CgAT, DPSH"
DEFENSES = {
    PLAIN: {},
    "SAAT": {"name": "saat", "quantization": 1e-4},
    "AT-self": {"name": "at_self"},
    "ATRDH": {"name": "atrdh"},
    "binary bank": {"bank": "binary"},
    "Jaccard centers": {"centers": "jaccard"},
    "AWP": {"awp": 0.005},
    "EMA": {"ema": 0.99},
    "consistency": {"consistency": 1.0},
}
EPOCH_STEPS = 329  # 10,500 images in batches of 32
_SHARE = 16  # a batch of 32 in batches of 2


def synthetic(images: int, size: int, rows: int, bits: int, classes: int):
    """A random batch (pixels as uint8) and a bank."""
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, classes)) < 0.15).astype(np.float32)
    indices = rng.choice(rows, images, replace=False).astype(np.int32)
    pixels = rng.integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    codes = rng.uniform(-1, 1, (rows, bits)).astype(np.float32)
    batch = Batch(pixels, labels[indices], indices, np.ones(images, bool))
    return batch, Bank(jnp.asarray(codes), jnp.asarray(labels))


def step_job(network: str, loss_name: str, changes: dict, batch, bank) -> Callable:
    """A compiled defense step that carries its state from call to call."""
    settings, loss = Defense(**changes), make_loss(loss_name)
    model = make_model(network, outputs=bank.codes.shape[1])
    tx = make_optimizer(settings, lambda step: 1e-3)
    images = sharding.to_images(jnp.asarray(batch.images))
    params = jax.jit(lambda: model.init(jax.random.key(0), images)[0])()
    loss_params, constants = loss.init(jax.random.key(0), bank)
    params = {"model": params, "loss": loss_params}
    state = new_state(params, constants, {}, bank, tx)
    labels = np.asarray(bank.labels)
    state = start_defense(jax.random.key(0), state, settings, labels)
    state = jax.tree.map(jnp.copy, state)
    step = make_defense_step(model, loss, tx, settings, EPOCH_STEPS)
    mesh = sharding.make_mesh()
    program, rows = loop.compile_step(step, mesh), sharding.put_rows(mesh, batch)

    def run():
        nonlocal state
        state, metrics = program(state, rows, jax.random.key(0))
        return metrics["loss"]

    return run


def part_jobs(batch, bank) -> dict[str, Callable]:
    """Center codes, each loss with its gradient, and DSDH's refresh, alone."""
    jobs, rows = {}, Batch(*map(jnp.asarray, batch))
    centers = jax.jit(center_codes)
    jobs["two center codes"] = lambda: [centers(rows.labels, bank) for _ in range(2)]
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(32, 64)), jnp.float32)
    for name in LOSSES:
        loss = make_loss(name)
        params, constants = loss.init(jax.random.key(0), bank)
        value = functools.partial(loss.apply, params)
        gradient = jax.jit(jax.value_and_grad(value, argnums=1))
        arguments = constants, logits, rows, bank, jax.random.key(0)
        jobs[f"loss {name}"] = functools.partial(gradient, *arguments)
        if loss.refresh:
            refresh = jax.jit(loss.refresh)
            jobs[f"refresh {name}"] = functools.partial(refresh, constants, bank)
    return jobs


def best_times(jobs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Seconds of each job's best round; the jobs take turns."""
    times = {name: np.inf for name in jobs}
    for run in jobs.values():
        jax.block_until_ready(run())  # compiles
    for _ in range(rounds):
        for name, run in jobs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def whole_steps(rounds: int) -> str:
    """The table of whole steps of ``small``."""
    batch, bank = synthetic(64, 48, 4_000, 32, 10)
    variants = {title: ("dpsh", changes) for title, changes in DEFENSES.items()}
    variants |= {f"CgAT, {name}": (name, {}) for name in LOSSES if name != "dpsh"}
    jobs = {
        title: step_job("small", loss, changes, batch, bank)
        for title, (loss, changes) in variants.items()
    }
    times = best_times(jobs, rounds)
    rows = [
        [title, f"{1e3 * seconds:.1f}", f"{seconds / times[PLAIN]:.2f}"]
        for title, seconds in times.items()
    ]
    return markdown_table(
        pd.DataFrame(rows, columns=["step of `small`, batch 64", "ms", "ratio"])
    )


def parts(rounds: int) -> str:
    """The table of parts as shares of VGG11's step and epoch."""
    small_batch, bank = synthetic(2, 224, 10_500, 64, 80)
    vgg = step_job("vgg11", "dpsh", {}, small_batch, bank)
    step = _SHARE * best_times({"vgg11": vgg}, max(rounds // 2, 1))["vgg11"]
    batch, bank = synthetic(32, 8, 10_500, 64, 80)
    rows = []
    wholes = {"refresh": (step * EPOCH_STEPS, "epoch")}
    for name, seconds in best_times(part_jobs(batch, bank), 4 * rounds).items():
        whole, unit = wholes.get(name.split()[0], (step, "step"))
        share = f"{seconds / whole:.3%} of the {unit}"
        rows.append([name, f"{1e3 * seconds:.2f}", share])
    header = [f"N = 10,500, K = 64, C = 80; VGG11 step {step:.1f} s", "ms", "share"]
    return markdown_table(pd.DataFrame(rows, columns=header))


def main() -> None:
    """Parses the options and prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--out", type=out_file(TITLE), help="Markdown file to write")
    options = parser.parse_args()
    prefer_fast_cpu_convolutions()
    about = provenance()
    text = (
        f"{TITLE}\n\n"
        f"`python -m benchmarks.training --rounds {options.rounds}`, best round; "
        f"{about['device']}, jax {about['versions']['jax']}, "
        f"commit {about['commit']}.\n\n"
        f"{whole_steps(options.rounds)}\n{parts(options.rounds)}"
    )
    print(text)
    write_out(options.out, text)


if __name__ == "__main__":
    main()
