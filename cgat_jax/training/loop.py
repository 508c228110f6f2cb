"""A stage of training: its batches, its step as one program, and its run."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cgat_jax import processes, sharding
from cgat_jax.config import Config, Training
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.loader import Batching, steps_per_epoch, train_batches
from cgat_jax.rng import device_stream
from cgat_jax.training import checkpoint
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.training.run_loop import Course, run_loop
from cgat_jax.training.training_map import make_training_map
from cgat_jax.types import Batch, HashLoss, StepFn, TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage of training is made of; its name separates its randomness.

    ``warm_start(state, check_stop)`` completes the first state; it is skipped where a
    checkpoint is found.
    """

    name: str
    settings: Training
    step: StepFn
    loss: HashLoss | None
    schedule: Callable[[int], Any]
    initial_state: Callable[[], TrainState]
    warm_start: Callable[[TrainState, Callable[[], None]], TrainState]


def batches_of(
    dataset: Dataset,
    config: Config,
    settings: Training,
    mesh: Mesh,
    steps: range,
    *,
    stage: str,
) -> Iterator[Batch]:
    """Global batches of uint8 images of a stage's steps, counted over all epochs.

    They are padded to what the devices can share, so that the number of devices changes
    no step.
    """
    shared = sharding.shared_rows(settings.batch_size)
    how = Batching(
        crop_size=config.data.crop_size,
        batch_size=settings.batch_size,
        seed=config.seed,
        stage=stage,
        augment=settings.augment,
        drop_last=settings.drop_last,
        threads=config.data.threads,
        padded=shared,
    )
    rows = sharding.process_rows(shared)
    local = train_batches(dataset, how, steps, rows=rows)
    return (sharding.put_rows(mesh, batch) for batch in local)


def epoch_steps(dataset: Dataset, settings: Training) -> int:
    """Steps an epoch of a stage on these data.

    Raises:
        DataError: there are none.
    """
    rows = len(dataset.split.train)
    return steps_per_epoch(rows, settings.batch_size, drop_last=settings.drop_last)


def compile_step(step: StepFn, mesh: Mesh) -> Callable:
    """The step as one program: state donated and replicated, batch split by row."""
    whole, rows = sharding.replicated(mesh), sharding.by_row(mesh)

    def whole_step(state, batch, key):
        return step(state, sharding.as_float(batch), key)

    return jax.jit(
        whole_step,
        donate_argnums=0,
        in_shardings=(whole, rows, whole),
        out_shardings=(whole, whole),
    )


def image_names(dataset: Dataset, rows: np.ndarray) -> list[str]:
    """Ids of training images, of those rows that are no padding."""
    train, ids = dataset.split.train, dataset.image_ids
    return [str(ids[train[row]]) for row in rows if row < len(train)]


def run_stage(
    stage: Stage,
    dataset: Dataset,
    config: Config,
    mesh: Mesh,
    workdir: Path,
    stop: StopSignal,
) -> TrainState:
    """Trains a stage to its end, from its newest checkpoint if it has one.

    Raises:
        NonFiniteError: a logged number is not finite; nothing was saved since.
        Stopped: after a checkpoint, if a signal came.
        OSError: a checkpoint cannot be written; those before it stay.
    """
    folder = workdir / stage.name / "checkpoints"
    opened = contextlib.closing(checkpoint.open_checkpoints(folder))
    with opened as manager, stop.deferred(saving=True):
        state = sharding.put_whole(mesh, stage.initial_state())
        restored = checkpoint.restore_latest(manager, state)
        if restored is None:
            check_stop = functools.partial(processes.check_stop, stop)
            state = sharding.put_whole(mesh, stage.warm_start(state, check_stop))
            state = jax.tree.map(jnp.copy, state)  # the loop donates it; parts live on
        else:
            state = restored
        course = _course(stage, dataset, config, workdir, stop)
        steps = range(int(state.step), course.total)
        if steps:
            settings = stage.settings
            batches = batches_of(
                dataset, config, settings, mesh, steps, stage=stage.name
            )
            step_fn = compile_step(stage.step, mesh)
            key = device_stream(config.seed, f"train/{stage.name}")
            state = run_loop(
                course,
                lambda state, batch: step_fn(state, batch, key),
                state,
                batches,
                manager,
                processes.Poll(mesh),
            )
    return state


def _course(
    stage: Stage, dataset: Dataset, config: Config, workdir: Path, stop: StopSignal
) -> Course:
    per_epoch = epoch_steps(dataset, stage.settings)
    total, watched = stage.settings.epochs * per_epoch, {}
    refresh = stage.loss.refresh if stage.loss else None
    if stage.loss is not None:  # without a hashing loss the bank stays empty
        labels = dataset.labels[dataset.split.train]
        watched["measure"] = make_training_map(
            labels, seed=config.seed, total=total, per_epoch=per_epoch
        )

    def refreshed(state: TrainState, step: int) -> TrainState:
        if refresh is None or step % per_epoch:
            return state
        return state._replace(constants=jax.jit(refresh)(state.constants, state.bank))

    return Course(
        name=f"stage {stage.name}",
        total=total,
        per_epoch=per_epoch,
        log_steps=config.log_steps,
        checkpoint_seconds=config.checkpoint_seconds,
        schedule=stage.schedule,
        path=workdir / stage.name / "metrics.jsonl",
        image_names=functools.partial(image_names, dataset),
        asked=lambda: stop.asked,
        before_step=refreshed,
        **watched,
    )
