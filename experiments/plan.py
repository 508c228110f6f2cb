"""What a reproduction will cost, here or on a named GPU, before anything is run."""

from pathlib import Path

from absl import logging

from cgat_jax.config import Config
from cgat_jax.errors import InputError
from cgat_jax.reproduction import paper_cells
from cgat_jax.reproduction.progress import is_done
from cgat_jax.reproduction.study import Study, cells_of, config_of


def plan(
    found: dict[str, Study], root: Path, tflops: float | None, gpu: str = ""
) -> list[str]:
    """A line a run, with its cost where it is not done, and the sum.

    Args:
        found: the studies by data set.
        root: the folder of their runs.
        tflops: speed that is assumed; None to measure this machine's.
        gpu: a GPU's name, to assume its speed.

    Raises:
        InputError: the GPU is not known, or there are two speeds.
    """
    from cgat_jax.evaluation.costs import run_flops

    logging.set_verbosity(logging.WARNING)
    assumed = _assumed(tflops, gpu)
    flops: dict[str, float | None] = {}
    configs = []
    for dataset, each in found.items():
        for cell in cells_of(each):
            name = f"{dataset}/{cell.folder}"
            flops[name] = None
            if not is_done(each, cell, paper_cells.folder_of(root, dataset)):
                configs.append(config_of(each, dict(cell.overrides)))
                flops[name] = run_flops(configs[-1], pretrains=not cell.pretrained)
    if not configs:
        return [f"{name}: done" for name in flops]
    speed, how = assumed or _measured(configs[0])
    lines = [
        f"{name}: {'done' if cost is None else _cost(cost, speed)}"
        for name, cost in flops.items()
    ]
    total = sum(cost for cost in flops.values() if cost is not None)
    return [*lines, f"in all: {_cost(total, speed)}, at {speed / 1e12:.3g} {how}"]


def _assumed(tflops: float | None, gpu: str) -> tuple[float, str] | None:
    """Operations a second that are not to be measured, and where they come from."""
    from cgat_jax.evaluation.costs import PEAKS, UTILIZATION, gpu_speed

    if gpu and tflops is not None:
        raise InputError("give one of --gpu and --tflops")
    if tflops is not None:
        return tflops * 1e12, "TFLOP/s, as given"
    if not gpu:
        return None
    speed = gpu_speed(gpu)
    peak = f"{UTILIZATION:.0%} of the published {PEAKS[gpu.lower()]:g}"
    return speed, f"TFLOP/s, an estimate: {peak} of one {gpu}, not measured"


def _measured(config: Config) -> tuple[float, str]:
    """Operations a second of this machine, and how they were measured."""
    from cgat_jax.evaluation.costs import measured_speed
    from experiments.xla import prefer_fast_cpu_convolutions

    prefer_fast_cpu_convolutions()
    name = config.model.name
    text = f"TFLOP/s, measured here on the training of {name!r}, other work left aside"
    return measured_speed(config), text


def _cost(flops: float, speed: float) -> str:
    minutes = flops / speed / 60
    time = f"{minutes:,.1f} min" if minutes < 100 else f"{minutes / 60:,.1f} h"
    return f"{flops / 1e15:,.3f} PFLOP, {time}"
