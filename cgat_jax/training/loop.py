"""The one loop: resume, step, log, check, checkpoint, stop."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from cgat_jax import sharding
from cgat_jax.config import Config, Training
from cgat_jax.data.dataset import Dataset
from cgat_jax.data.loader import steps_per_epoch, train_batches
from cgat_jax.errors import NonFiniteError
from cgat_jax.files.metrics_log import MetricsLog
from cgat_jax.rng import device_stream
from cgat_jax.training import checkpoint
from cgat_jax.training.clock import StepClock
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.types import Batch, HashLoss, StepFn, TrainState

AHEAD = 2  # steps that are queued on the device
_SLOW = 1.0  # seconds of a step from which on none is queued


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
    """Global batches of uint8 images of a stage's steps, counted over all epochs."""
    local = train_batches(
        dataset,
        crop_size=config.data.crop_size,
        batch_size=settings.batch_size,
        seed=config.seed,
        stage=stage,
        augment=settings.augment,
        drop_last=settings.drop_last,
        threads=config.data.threads,
        start_step=steps.start,
        num_steps=len(steps),
        rows=sharding.process_rows(settings.batch_size),
    )
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
    total = stage.settings.epochs * epoch_steps(dataset, stage.settings)
    folder, whole = workdir / stage.name / "checkpoints", sharding.replicated(mesh)
    opened = contextlib.closing(checkpoint.open_checkpoints(folder))
    with opened as manager, stop.deferred(saving=True):
        state = jax.device_put(stage.initial_state(), whole)
        restored = checkpoint.restore_latest(manager, state)
        if restored is None:
            state = jax.device_put(stage.warm_start(state, stop.check), whole)
            state = jax.tree.map(jnp.copy, state)  # the loop donates it; parts live on
        else:
            state = restored
        start = int(state.step)
        if start < total:
            loop = _Loop(stage, dataset, config, mesh, workdir, manager)
            state = loop.run(state, start, stop)
    return state


def steps_ahead(seconds: float) -> int:
    """How many steps to queue where one takes so long: never more than seconds."""
    return AHEAD if seconds < _SLOW else 0


def wait_for_all_but(queued: Sequence[Any], newest: int) -> None:
    """Waits until of the queued steps' results all are there but the newest.

    A device that is asked to do more than the next steps would go on for minutes after
    a signal.
    """
    if len(queued) > newest:
        jax.block_until_ready(queued[-1 - newest])


class _Loop:
    """The running of one stage: its pending metrics and its clock."""

    def __init__(self, stage: Stage, dataset, config, mesh, workdir, manager):
        self.stage, self.dataset, self.config, self.mesh = stage, dataset, config, mesh
        self.manager, self.per_epoch = manager, epoch_steps(dataset, stage.settings)
        self.total = stage.settings.epochs * self.per_epoch
        self.path = workdir / stage.name / "metrics.jsonl"
        self.pending: list[tuple[int, np.ndarray, dict]] = []
        self.key = device_stream(config.seed, f"train/{stage.name}")

    def run(self, state: TrainState, start: int, stop: StopSignal) -> TrainState:
        step_fn = compile_step(self.stage.step, self.mesh)
        self.log, self.clock = MetricsLog(self.path, start), StepClock()
        batches = batches_of(
            self.dataset,
            self.config,
            self.stage.settings,
            self.mesh,
            range(start, self.total),
            stage=self.stage.name,
        )
        saved, ahead = time.monotonic(), 0
        bar = tqdm(
            total=self.total,
            initial=start,
            desc=self.stage.name,
            unit="step",
            disable=None,
        )
        with bar:
            for step, batch in enumerate(self.clock.timed(batches), start=start):
                state = self._refresh(state, step)
                began = time.monotonic()
                state, metrics = step_fn(state, batch, self.key)
                self.pending.append((step + 1, batch.indices, metrics))
                wait_for_all_but([metrics for _, _, metrics in self.pending], ahead)
                ahead = steps_ahead(time.monotonic() - began)
                due = time.monotonic() - saved >= self.config.checkpoint_seconds
                asked = stop.asked  # read once: what comes later waits for a save
                ends = due or asked or step + 1 == self.total
                if ends or (step + 1) % self.config.log_steps == 0:
                    self._flush(bar)
                if ends:
                    checkpoint.save(self.manager, step + 1, state)
                    saved = time.monotonic()
                if asked:
                    stop.check()
        return state

    def _refresh(self, state: TrainState, step: int) -> TrainState:
        refresh = self.stage.loss.refresh if self.stage.loss else None
        if refresh is None or step % self.per_epoch:
            return state
        return state._replace(constants=jax.jit(refresh)(state.constants, state.bank))

    def _flush(self, bar: tqdm) -> None:
        """Checks every step since the last flush, and logs the due ones."""
        fetched = jax.device_get([metrics for _, _, metrics in self.pending])
        for (step, indices, _), metrics in zip(self.pending, fetched, strict=True):
            values = {name: float(value) for name, value in sorted(metrics.items())}
            self._check(step, indices, values)
            if step % self.config.log_steps == 0 or step == self.total:
                rate = float(self.stage.schedule(step - 1))
                entry = {"step": step, "epoch": round(step / self.per_epoch, 4)}
                clock = self.clock.read(self.stage.settings.batch_size)
                self.log.append(entry | values | {"learning_rate": rate} | clock)
        bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        bar.update(self.pending[-1][0] - bar.n)
        self.pending.clear()

    def _check(self, step: int, indices: jax.Array, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        if bad:
            rows = [i for i in np.asarray(indices) if i < len(self.dataset.split.train)]
            train, ids = self.dataset.split.train, self.dataset.image_ids
            names = ", ".join(str(ids[train[row]]) for row in rows)
            raise NonFiniteError(
                f"stage {self.stage.name}, step {step}: not finite: {', '.join(bad)}; "
                f"images of the batch: {names}"
            )
