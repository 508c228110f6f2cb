"""The loop's own promises: one trace a shape, memory that does not grow."""

import dataclasses
import gc
import json

import jax
import jax.numpy as jnp
import pytest

from cgat_jax import sharding
from cgat_jax.data import load_dataset
from cgat_jax.training import loop, stages
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.types import StepFn
from tests import tiny_config


@pytest.fixture
def config():
    config = tiny_config.get_config()
    model = dataclasses.replace(config.model, weights="random")
    return dataclasses.replace(config, model=model, checkpoint_seconds=1e9)


def _counted(step: StepFn, counts: list[int]) -> StepFn:
    def counting(state, batch, key):
        counts.append(1)
        return step(state, batch, key)

    return counting


def _run(stage, config, tmp_path):
    dataset = load_dataset(config.data, tmp_path, progress=False)
    mesh, stop = sharding.make_mesh(), StopSignal()
    return loop.run_stage(stage, dataset, config, mesh, tmp_path, stop)


def test_the_step_is_traced_once_with_a_partial_last_batch(config, tmp_path):
    dataset = load_dataset(config.data, tmp_path, progress=False)
    assert len(dataset.split.train) % config.pretrain.batch_size
    stage, traces = stages._pretrain(config, dataset, tmp_path), []
    stage = dataclasses.replace(stage, step=_counted(stage.step, traces))
    state = _run(stage, config, tmp_path)
    assert len(traces) == 1 and int(state.step) == 12


@pytest.mark.long
def test_forty_epochs_leave_no_more_arrays_than_two(config, tmp_path):
    def arrays_after(epochs):
        short = dataclasses.replace(
            config, pretrain=dataclasses.replace(config.pretrain, epochs=epochs)
        )
        folder = tmp_path / str(epochs)
        dataset = load_dataset(short.data, folder, progress=False)
        state = _run(stages._pretrain(short, dataset, folder), short, folder)
        gc.collect()
        count = len(jax.live_arrays())
        del state
        return count

    few = arrays_after(2)
    assert arrays_after(40) <= few + 2


@pytest.mark.slow
def test_forty_steps_lower_the_classification_loss(config, tmp_path):
    backbone = dataclasses.replace(config.backbone, epochs=7, learning_rate=0.05)
    config = dataclasses.replace(config, backbone=backbone, log_steps=1)
    dataset = load_dataset(config.data, tmp_path, progress=False)
    _run(stages._backbone(config, dataset), config, tmp_path)
    lines = (tmp_path / "backbone" / "metrics.jsonl").read_text().splitlines()
    losses = [float(line.split('"loss": ')[1].split(",")[0]) for line in lines]
    assert len(losses) == 42
    entries = [json.loads(line) for line in lines]
    assert all(0 <= x["seconds/data"] <= x["seconds/step"] for x in entries)
    assert all(x["images_per_second"] > 0 for x in entries)
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])


def test_a_batch_size_that_the_devices_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(ValueError, match="batch_size 12 is not a multiple of the 8"):
        sharding.process_rows(12)


def test_pixels_become_the_unit_interval():
    pixels = jnp.array([[[[0, 51, 255]]]], jnp.uint8)
    assert sharding.to_images(pixels).tolist() == [[[[0.0, pytest.approx(0.2), 1.0]]]]
