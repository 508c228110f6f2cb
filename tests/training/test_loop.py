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
from cgat_jax.types import Bank, HashLoss, StepFn, TrainState
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


def _watched_stage(config):
    """A stage without a network: codes are how often their images were seen.

    Its loss counts how often its constants were refreshed, and of which codes.
    """
    loss = HashLoss(
        init=lambda key, bank: ({}, {}),
        apply=lambda *parts: jnp.zeros(()),
        refresh=lambda constants, bank: {
            "times": constants["times"] + 1,
            "codes": bank.codes.mean(),
        },
    )

    def step(state, batch, key):
        seen = state.bank.codes.at[batch.indices].add(1.0, mode="drop")
        bank, metrics = state.bank._replace(codes=seen), dict(state.constants)
        state = state._replace(step=state.step + 1, bank=bank)
        return state, metrics | {"loss": jnp.zeros(())}

    def initial_state():
        rows = config.data.num_train
        bank = Bank(jnp.zeros((rows, 2)), jnp.ones((rows, 1)))
        constants = {"times": jnp.zeros(()), "codes": jnp.zeros(())}
        return TrainState(jnp.array(0), {}, {}, constants, bank, ())

    return loop.Stage(
        name="pretrain",
        settings=dataclasses.replace(config.pretrain, epochs=3),
        step=step,
        loss=loss,
        schedule=lambda step: 0.1,
        initial_state=initial_state,
        warm_start=lambda state, check_stop: state,
    )


def test_a_loss_is_refreshed_from_the_bank_before_each_epoch_alone(config, tmp_path):
    config = dataclasses.replace(config, log_steps=1)
    state = _run(_watched_stage(config), config, tmp_path)
    lines = (tmp_path / "pretrain" / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    epochs = [epoch for epoch in range(3) for _ in range(6)]
    assert [entry["times"] for entry in entries] == [epoch + 1 for epoch in epochs]
    assert [entry["codes"] for entry in entries] == epochs
    assert (state.bank.codes == 3).all()


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
