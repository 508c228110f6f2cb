"""What stages start from, and the networks that a finished run gives to others."""

import dataclasses

import jax
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.data import load_dataset
from cgat_jax.models.weights import save_weights
from cgat_jax.training import stages
from cgat_jax.training.initial_state import (
    build_network,
    empty_bank,
    fresh_weights,
    initial_bank,
)
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.types import TrainState
from tests import tiny_config


def config_of(**settings):
    config = tiny_config.get_config()
    parts = {
        "model": {"weights": "random"},
        "pretrain": {"epochs": 1, "schedule": "constant"},
        "defense": {"epochs": 1, "steps": 1, "schedule": "constant"},
    }
    for part, values in parts.items():
        changed = dataclasses.replace(
            getattr(config, part), **values | settings.get(part, {})
        )
        setattr(config, part, changed)
    return dataclasses.replace(config, checkpoint_seconds=1e9)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return load_dataset(tiny_config.get_config().data, root, progress=False)


def trained(config, dataset, workdir):
    mesh, stop = sharding.make_mesh(), StopSignal()
    return stages.train(config, dataset, mesh, workdir, stop)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
def test_a_finished_run_needs_the_weights_it_started_from_no_more(dataset, tmp_path):
    path = tmp_path / "start.safetensors"
    config = config_of(model={"weights": str(path)})
    model = build_network(config, config.model.bits)
    save_weights(path, *fresh_weights(model, config_of()))
    networks = trained(config, dataset, tmp_path / "run")
    path.unlink()
    found = stages.finished(config, dataset, sharding.make_mesh(), tmp_path / "run")
    assert_same(found, networks)


@pytest.mark.slow
def test_a_run_without_pretraining_has_finished_it(dataset, tmp_path):
    config = config_of(pretrain={"epochs": 0})
    networks = trained(config, dataset, tmp_path / "run")
    found = stages.finished(config, dataset, sharding.make_mesh(), tmp_path / "run")
    assert_same(found, networks)


@pytest.mark.slow
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_first_bank_has_a_code_of_every_training_image(dataset, drop_last):
    config = config_of(defense={"batch_size": 48, "drop_last": drop_last})
    assert len(dataset.split.train) % 48
    model = build_network(config, config.model.bits)
    weights, stats = fresh_weights(model, config)
    state = TrainState(
        *(0, {"model": weights, "loss": {}}, stats, {}),
        *(empty_bank(dataset, config.model.bits), ()),
    )
    bank = initial_bank(
        config, dataset, sharding.make_mesh(), model, state, lambda: None
    )
    assert {*np.unique(bank.codes)} == {-1.0, 1.0}
