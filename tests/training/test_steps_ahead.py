"""Work is queued a few steps ahead, and slow steps not at all: a stop waits for it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import processes, progress, sharding
from cgat_jax.training import checkpoint
from cgat_jax.training.run_loop import (
    AHEAD,
    Course,
    run_loop,
    steps_ahead,
    wait_for_all_but,
)
from cgat_jax.types import Batch


def test_slow_steps_are_not_queued():
    assert steps_ahead(0.001) == AHEAD > 0
    assert steps_ahead(60.0) == 0


@pytest.mark.parametrize("newest", [0, 1, 3])
@pytest.mark.parametrize("count", range(6))
def test_all_but_the_newest_are_waited_for(monkeypatch, newest, count):
    """Steps end in their order, so that the last of those is the one to wait for."""
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    wait_for_all_but(range(count), newest)
    assert waited == ([count - newest - 1] if count > newest else [])


class Counted(NamedTuple):
    step: int


def test_a_step_is_saved_before_it_is_shown(monkeypatch, tmp_path):
    course = Course(
        name="stage toy",
        total=1,
        per_epoch=1,
        log_steps=1,
        checkpoint_seconds=1e9,
        schedule=lambda step: 0.1,
        path=tmp_path / "metrics.jsonl",
        image_names=str,
    )
    done = []
    monkeypatch.setattr(checkpoint, "save", lambda *_: done.append("saved"))
    monkeypatch.setattr(progress.Bar, "update", lambda *_: done.append("shown"))
    manager = checkpoint.open_checkpoints(tmp_path / "checkpoints")
    run_loop(
        course,
        lambda state, batch: (Counted(state.step + 1), {"loss": np.float32(0.5)}),
        Counted(0),
        iter([Batch(*[jnp.zeros(2, int)] * len(Batch._fields))]),
        manager,
        processes.Poll(sharding.make_mesh()),
    )
    manager.close()
    assert done == ["saved", "shown"]
