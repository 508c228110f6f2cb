"""What a run says before it starts: where it is, what it will do, what is done."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

from cgat_jax.attacks import ATTACKS, WORST_CASE
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.evaluation import other_runs, workload
from cgat_jax.evaluation.generators import generator_passes, generator_steps
from cgat_jax.evaluation.references import attacked_rows
from cgat_jax.report import names
from cgat_jax.report.records import STAGES
from cgat_jax.training.loop import epoch_steps


def costs(config: Config, dataset: Dataset) -> dict[str, float]:
    """Forward passes of the stages of a run, by name and in order."""
    folders = other_runs.source_workdirs(config).values()
    others = sum(workload.num_networks(other_runs.read_config(x)) for x in folders)
    used = config.evaluate.transfer or config.evaluate.sanity_queries
    return workload.run_passes(
        config,
        _sizes(config, dataset),
        pretrains=not config.pretrained,
        networks=workload.num_networks(config),
        others=others + bool(config.pretrained and used),
    )


def lines(
    config: Config, dataset: Dataset, workdir: Path, costs: Mapping[str, float]
) -> Iterator[str]:
    """Yields the lines, each of at most 80 columns but for long names."""
    split, sizes = dataset.split, _sizes(config, dataset)
    title = f"{dataset.name}, {config.model.name}, {config.model.bits} bits"
    loss = names.display(names.LOSSES, config.loss.name)
    defense = names.display(names.DEFENSES, config.defense.name)
    defends = f", defense {defense}" if config.defense.epochs else ""
    yield f"run       {title}, loss {loss}{defends}, seed {config.seed}"
    yield (
        f"images    {len(split.train):,} to train, {len(split.database):,} in the "
        f"database, {sizes.query:,} queries to attack"
    )
    yield f"machine   {_machine()}"
    yield f"workdir   {workdir}: {_done(config, dataset, workdir)}"
    left = costs_left(config, dataset, workdir, costs)
    total = sum(left.values())
    shares = [f"{n} {cost / max(total, 1):.0%}" for n, cost in left.items() if cost]
    which = "" if left == costs else " left"
    yield f"cost      about {_count(total)} forward passes{which}: {', '.join(shares)}"
    yield f"attacks   {_attacks(config, sizes)}"


def _sizes(config: Config, dataset: Dataset) -> workload.Sizes:
    split, attacked = dataset.split, len(attacked_rows(config, dataset))
    return workload.Sizes(len(split.train), len(split.database), attacked)


def _machine() -> str:
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    several = "" if jax.process_count() == 1 else f", {jax.process_count()} processes"
    kind = device.device_kind if device.platform != "cpu" else "CPU"
    return (
        f"{jax.device_count()} x {kind}, {cores or os.cpu_count()} cores{several}, "
        f"jax {jax.__version__}"
    )


def costs_left(
    config: Config, dataset: Dataset, workdir: Path, costs: Mapping[str, float]
) -> dict[str, float]:
    """``costs`` without what an earlier call has trained and measured there."""
    left = dict(costs)
    for stage, (step, total) in _steps(config, dataset, workdir).items():
        if stage in left:
            left[stage] *= 1 - step / max(total, 1)
    sizes = _sizes(config, dataset)
    of = {
        "worst_case": workload.attack_passes(WORST_CASE, config)
        * workload.worst_case_queries(config, sizes),
        "sanity": workload.sanity_passes(config)
        * workload.sanity_queries(config, sizes),
    }
    for kind, cost in of.items():
        left["evaluate"] -= cost * len([*workdir.glob(f"evaluate/*/{kind}.json")])
    for name in _attacked(workdir):
        if name == WORST_CASE or name in ATTACKS:
            left["evaluate"] -= workload.attack_passes(name, config) * sizes.query
    left["evaluate"] -= sum(sizes) * len([*workdir.glob("codes/*")])
    steps = map(_last_step, workdir.glob("prosgan/*"))
    trained = sum(steps) / generator_steps(config, dataset)
    left["evaluate"] -= generator_passes(config, sizes.train) * trained
    return {name: max(cost, 0.0) for name, cost in left.items()}


def _attacked(workdir: Path) -> list[str]:
    """The attacks that were made there; one that several networks saw is one."""
    found = []
    for path in workdir.glob("evaluate/*/record.json"):
        defense, _, rest = path.parent.name.partition("-")
        name, moved, source = rest.partition("@")
        found.append((name, moved, source if moved else defense))
    return [name for name, *_ in dict.fromkeys(found)]


def _steps(
    config: Config, dataset: Dataset, workdir: Path
) -> dict[str, tuple[int, int]]:
    """Of the stages that have begun there: the last saved step, and of how many."""
    found = {}
    for stage, section in STAGES.items():
        settings, folder = getattr(config, section), workdir / stage
        total = settings.epochs * epoch_steps(dataset, settings)
        if (folder / "network.safetensors").is_file():
            found[stage] = total, total
        elif step := _last_step(folder):
            found[stage] = min(step, total), total
    return found


def _last_step(folder: Path) -> int:
    """The newest checkpoint's; 0 where there is none."""
    names = [path.name for path in folder.glob("checkpoints/*")]
    return max((int(name) for name in names if name.isdigit()), default=0)


def _done(config: Config, dataset: Dataset, workdir: Path) -> str:
    """What an earlier call has left there."""
    found = [
        f"{stage} done" if step == total else f"{stage} at step {step:,} of {total:,}"
        for stage, (step, total) in _steps(config, dataset, workdir).items()
    ]
    kinds = ("record", "worst_case", "sanity")
    measured = sum(len([*workdir.glob(f"evaluate/*/{kind}.json")]) for kind in kinds)
    found += [f"{measured} measured"] if measured else []
    return f"goes on ({', '.join(found)})" if found else "new"


def _attacks(config: Config, sizes: workload.Sizes) -> str:
    named = ", ".join(config.evaluate.attack_list) or "none"
    first = workload.worst_case_queries(config, sizes)
    if WORST_CASE in config.evaluate.attack_list:
        return named
    if not first:
        return f"{named}; no {WORST_CASE}: evaluate.worst_case_queries=N has one"
    where = "all" if first == sizes.query else f"the first {first:,}"
    return f"{named}; {WORST_CASE} on {where} queries"


def _count(passes: float) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if passes >= size:
            return f"{passes / size:.3g} {name}"
    return f"{passes:.0f}"
