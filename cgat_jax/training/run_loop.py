"""The one loop: step, log, check, checkpoint, stop; of stages and of ProS-GAN alike."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from cgat_jax import processes, progress, sharding
from cgat_jax.errors import NonFiniteError, Stopped
from cgat_jax.files.metrics_log import MetricsLog
from cgat_jax.training import checkpoint
from cgat_jax.training.clock import StepClock
from cgat_jax.types import Batch

State = TypeVar("State")
AHEAD = 2  # steps that are queued on the device
_SLOW = 1.0  # seconds of a step from which on none is queued


@dataclasses.dataclass(frozen=True, kw_only=True)
class Course:
    """What a training loop goes by.

    Attributes:
        name: of what is trained, for the bar and for errors.
        total: steps in all.
        per_epoch: steps of an epoch.
        log_steps: steps between two logged ones.
        checkpoint_seconds: between two checkpoints.
        schedule: the learning rate of a step, from 0.
        path: of the log, ``metrics.jsonl``.
        image_names: what the rows of a batch are called in errors.
        asked: the number of the signal that asked to stop, or 0.
        before_step: ``before_step(state, step) -> state``, before each step.
        measure: ``measure(state, before, step)``, what a logged step's line holds
            besides; ``before`` is the logged step before it.
    """

    name: str
    total: int
    per_epoch: int
    log_steps: int
    checkpoint_seconds: float
    schedule: Callable[[int], Any]
    path: Path
    image_names: Callable[[np.ndarray], list[str]]
    asked: Callable[[], int] = lambda: 0
    before_step: Callable[[Any, int], Any] = lambda state, step: state
    measure: Callable[[Any, int, int], dict[str, float]] = lambda *_: {}

    def logs(self, step: int) -> bool:
        """Whether a step gets a line of the log."""
        return step % self.log_steps == 0 or step == self.total


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


def run_loop(
    course: Course,
    step_fn: Callable[[State, Batch], tuple[State, dict[str, Any]]],
    state: State,
    batches: Iterator[Batch],
    manager: ocp.CheckpointManager,
    poll: processes.Poll,
) -> State:
    """The last state, from one whose ``step`` tells where it stands.

    Args:
        course: what to go by.
        step_fn: ``step_fn(state, batch) -> (state, metrics)``; may donate the state.
        state: its ``step`` is that of the first batch.
        batches: of the steps that are left.
        manager: of the checkpoints.
        poll: what all processes are asked by.

    Raises:
        NonFiniteError: a number is not finite; nothing was saved since.
        Stopped: after a checkpoint, if a signal came, in whichever process.
        OSError: a checkpoint cannot be written; those before it stay.
    """
    start, saved, ahead = int(state.step), time.monotonic(), 0
    first = processes.is_first()
    with progress.bar(
        course.name.removeprefix("stage "),
        course.total,
        unit="steps",
        done=start,
        shown=first,
    ) as bar:
        loop = _Steps(course, start, bar)
        for step, batch in enumerate(loop.clock.timed(batches), start=start):
            state = course.before_step(state, step)
            began = time.monotonic()
            state, metrics = step_fn(state, batch)
            loop.pending.append((step + 1, batch.indices, metrics))
            wait_for_all_but([metrics for _, _, metrics in loop.pending], ahead)
            now = time.monotonic()
            due = now - saved >= course.checkpoint_seconds
            poll.ask(due, course.asked(), not steps_ahead(now - began))
            due, asked, slow = poll.heard(ahead) or (0, 0, not ahead)
            ahead = 0 if slow else AHEAD
            ends = due or asked or step + 1 == course.total
            told = ends or course.logs(step + 1)
            if told:
                loop.flush(state)
            if ends:
                checkpoint.save(manager, step + 1, state)
                poll.forget()
                saved = time.monotonic()
            if told:
                loop.show()
            if asked:
                raise Stopped(128 + asked)
    return state


class _Steps:
    """The steps of a loop whose numbers were not looked at yet, and the log."""

    def __init__(self, course: Course, start: int, bar: progress.Bar):
        self.course, self.bar = course, bar
        self.done, self.loss = start, 0.0
        self.pending: list[tuple[int, Any, dict]] = []
        self.clock = StepClock()
        self.log = MetricsLog(course.path, start) if processes.is_first() else None

    def flush(self, state: Any) -> None:
        """Checks every step since the last flush, and logs the due one, the last.

        ``state`` is that after the last step.
        """
        course = self.course
        fetched = jax.device_get([metrics for _, _, metrics in self.pending])
        for (step, indices, _), metrics in zip(self.pending, fetched, strict=True):
            values = {name: float(value) for name, value in sorted(metrics.items())}
            self._check(step, indices, values)
            if course.logs(step) and self.log is not None:
                rate = float(course.schedule(step - 1))
                entry = {"step": step, "epoch": round(step / course.per_epoch, 4)}
                before = (step - 1) // course.log_steps * course.log_steps
                values |= course.measure(state, before, step)
                times = self.clock.read(len(indices))
                self.log.append(entry | values | {"learning_rate": rate} | times)
        self.done, self.loss = step, values["loss"]
        self.pending.clear()

    def show(self) -> None:
        """Draws how far it is, and the loss, as of the last flush."""
        self.bar.note(f"loss {self.loss:.4f}")
        self.bar.update(self.done - self.bar.done)

    def _check(self, step: int, indices: jax.Array, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        if bad:
            names = ", ".join(self.course.image_names(sharding.own_rows(indices)))
            raise NonFiniteError(
                f"{self.course.name}, step {step}: not finite: {', '.join(bad)}; "
                f"images of the batch: {names}"
            )
