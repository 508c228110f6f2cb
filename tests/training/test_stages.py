"""What stages start from, and the networks that a finished run gives to others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.config import Loss
from cgat_jax.data import load_dataset
from cgat_jax.data.images import center_crop
from cgat_jax.models.weights import save_weights
from cgat_jax.rng import device_stream
from cgat_jax.training import stages
from cgat_jax.training.initial_state import (
    build_loss,
    build_network,
    empty_bank,
    fresh_weights,
    initial_bank,
)
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.types import HashModel, TrainState
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


def _centered_model():
    """A linear network of pixels minus their mean; with a key its codes are turned."""

    def apply(params, stats, images, *, key=None, mask=None):
        flat = images.reshape(len(images), -1) - stats["mean"]
        logits = flat @ params["weights"]
        return (logits if key is None else -logits), stats

    return HashModel(init=lambda key, images: ({}, {}), apply=apply)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("crafting", "sign"), [("eval", 1), ("train", -1)])
def test_the_first_bank_has_the_sign_of_every_training_images_code(
    dataset, rng, drop_last, crafting, sign
):
    """Reference: the images one by one; only ``train`` hands the network a key."""
    options = {"drop_last": drop_last, "crafting": crafting, "augment": False}
    config = config_of(defense={"batch_size": 48} | options)
    assert len(dataset.split.train) % 48
    weights = rng.normal(size=(32 * 32 * 3, 8)).astype(np.float32)
    images = [
        center_crop(dataset.read(int(row)), 32) / 255 for row in dataset.split.train
    ]
    logits = np.array([(image.ravel() - 0.5) @ weights for image in images])
    assert np.abs(logits).min() > 1e-4  # no sign is a matter of rounding
    params = {"model": {"weights": jnp.array(weights)}, "loss": {}}
    state = TrainState(
        *(jnp.array(0), params, {"mean": jnp.array(0.5)}, {}),
        *(empty_bank(dataset, 8), ()),
    )
    parts = sharding.make_mesh(), _centered_model(), state, lambda: None
    bank = initial_bank(config, dataset, *parts)
    np.testing.assert_array_equal(bank.codes, sign * np.sign(logits))
    labels = dataset.labels[dataset.split.train]
    np.testing.assert_array_equal(bank.labels, labels)


@pytest.mark.parametrize("redraw", [False, True])
def test_a_defense_has_the_constants_of_pretraining_unless_it_redraws_them(
    dataset, redraw
):
    """Those of CSQ are its centers, here Hadamard's, and what breaks their ties."""
    config, key = config_of(), device_stream(0, "loss")  # as pretraining draws them
    config.loss = Loss(name="csq", redraw=redraw)
    bank = empty_bank(dataset, config.model.bits)
    params, constants = build_loss(config).init(key, bank)
    params = {"model": {}, "loss": params}
    before = TrainState(jnp.array(0), params, {}, constants, bank, ())
    stage = stages._defend(config, dataset, sharding.make_mesh(), before)
    found = stage.initial_state().constants
    assert set(np.unique(found["ties"])) == {-1.0, 1.0}
    assert (found["ties"] != constants["ties"]).any() == redraw
    if not redraw:
        assert_same(found, constants)
