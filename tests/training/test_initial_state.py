"""What a run starts from, and what it says where there is nothing to start from."""

import dataclasses

import jax.numpy as jnp
import pytest

from cgat_jax import workdir
from cgat_jax.config import Config, Loss, Model
from cgat_jax.errors import InputError
from cgat_jax.files.io import file_digest
from cgat_jax.losses import LOSSES
from cgat_jax.models.torch_import.weights import SOURCES
from cgat_jax.models.weights import save_weights
from cgat_jax.training.initial_state import (
    build_loss,
    build_network,
    check_weights,
)
from cgat_jax.training.network_files import check_pretrained
from experiments.configs import coco, coco_atrdh, coco_atrdh_matched, coco_saat
from tests import tiny_config


def check(config: Config):
    check_weights(build_network(config, config.model.bits), config)


def with_model(**settings):
    return dataclasses.replace(coco.get_config(), model=Model(**settings))


@pytest.mark.parametrize("file", [coco, coco_atrdh, coco_atrdh_matched, coco_saat])
def test_a_paper_configuration_asks_for_weights_and_says_how_to_get_them(file):
    with pytest.raises(ValueError, match="model.weights is empty") as caught:
        check(file.get_config())
    message = str(caught.value)
    assert "https://download.pytorch.org/models/vgg11-8a719046.pth" in message
    assert "experiments.convert_weights --torch=vgg11-8a719046.pth" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", SOURCES)
def test_every_network_has_a_file_to_get(name):
    with pytest.raises(ValueError, match=f"{SOURCES[name]}.*--out={name}.safetensors"):
        check(with_model(name=name))


def test_random_weights_are_a_choice():
    check(with_model(weights="random"))


def test_small_has_packed_weights():
    with pytest.raises(ValueError, match="empty: take 'packed'"):
        check(with_model(name="small"))
    check(with_model(name="small", weights="packed"))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"conv1": {"kernel": jnp.zeros((7, 7, 3, 64))}}, {})
    message = r"'bn1/bias' is \(64,\) in the network and missing in the file"
    with pytest.raises(ValueError, match=message):
        check(with_model(name="resnet18", weights=str(path)))
    message = r"'conv1/bias' is \(64,\) in the network and missing in the file"
    with pytest.raises(ValueError, match=message):
        check(with_model(name="vgg11", weights=str(path)))


def test_a_file_of_pytorch_is_to_be_converted(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"PK\3\4 and so on")
    with pytest.raises(ValueError, match="experiments.convert_weights"):
        check(with_model(weights=str(path)))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_built_from_the_settings(name):
    loss = Loss(name=name, redraw=True, eta=0.5, quantization=0.05)
    config = dataclasses.replace(Config(), loss=loss)
    assert callable(build_loss(config).apply)


def test_weights_of_the_pretrained_run_may_lie_elsewhere(tmp_path):
    """Their contents are compared, not their names."""
    theirs, moved = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    theirs.write_bytes(b"weights")
    config, folder = tiny_config.get_config(), tmp_path / "run"
    config.model.weights = str(theirs)
    workdir.claim_workdir(folder)
    made_of = {"data": {"whole": "1"}, "weights": file_digest(theirs)}
    workdir.remember(folder, config, made_of)
    theirs.rename(moved)
    config.model.weights, config.pretrained = str(moved), str(folder)
    check_pretrained(config)
    moved.write_bytes(b"others")
    with pytest.raises(InputError, match="other settings .model.weights: .*a.safetens"):
        check_pretrained(config)
