"""The same weights in PyTorch and in JAX come out the same, worst case included."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.data import load_dataset
from cgat_jax.evaluation import records, worst_case
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.models import make_model
from cgat_jax.models.torch_bridge import from_torch
from cgat_jax.models.torch_import.weights import from_torch_state, network_shapes
from cgat_jax.models.weights import load_weights, packed_weights
from cgat_jax.training.initial_state import build_network, fresh_weights
from cgat_jax.types import HashModel
from tests import tiny_config

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # more wait for each other where cores are busy
POINTS = 0.002
"""Of MAP: float32 rounds differently in both, which 100 steps by signs spread."""


def small_networks(config):
    """``small`` with its packed weights and a new head, and its PyTorch twin."""
    from tests.reference import torch_models

    model = build_network(config, config.model.bits)
    params, stats = load_weights(packed_weights("small"), *fresh_weights(model, config))
    head = params["head"]
    params = params | {"head": {"kernel": 30 * head["kernel"], "bias": head["bias"]}}
    twin = torch_models.small(config.model.bits)
    layers = [m for m in twin.modules() if isinstance(m, LAYERS)]
    names = ["conv1", "conv2", "conv3", "conv4", "fc1", "head"]
    for name, layer in zip(names, layers, strict=True):
        kernel = np.array(params[name]["kernel"])
        axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        layer.weight.data = torch.tensor(kernel.transpose(axes))
        layer.bias.data = torch.tensor(np.array(params[name]["bias"]))
    return twin, lambda images: model.apply(params, stats, images)[0]


LAYERS = (torch.nn.Conv2d, torch.nn.Linear)


class Enlarged(torch.nn.Module):
    """A network of 224 pixels for images of 32: each pixel seven by seven times."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        for axis in (2, 3):
            images = images.repeat_interleave(7, axis)
        return self.network(images)


def alexnet_networks(config):
    from tests.reference import torch_models

    torch.manual_seed(0)
    twin = torch_models.alexnet(config.model.bits)
    for layer in (m for m in twin.modules() if isinstance(m, LAYERS)):
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    model = make_model("alexnet", outputs=config.model.bits)
    state = {key: value.numpy() for key, value in twin.state_dict().items()}
    trees = from_torch_state("alexnet", state, network_shapes(model))
    params, stats = jax.tree.map(jnp.asarray, trees)

    def ours(images):
        for axis in (1, 2):
            images = jnp.repeat(images, 7, axis=axis)
        return model.apply(params, stats, images)[0]

    return Enlarged(twin), ours


def as_model(encode):
    """A network that holds its weights itself."""
    return HashModel(
        lambda key, images: ({}, {}),
        lambda params, stats, images, **_: (encode(images), {}),
    )


def measured(config, folder, encode):
    """Codes of all parts, and the records of the clean and the attacked queries."""
    data = load_dataset(config.data, folder / "data", progress=False)
    mesh = sharding.make_mesh()
    evaluator = Evaluator(config, data, mesh, folder, lambda: None)
    encoded = evaluator.encoded("none", as_model(encode), ({}, {}))
    return encoded.codes, evaluator.attacks("none", encoded)


def compare(config, networks, folder, *, falls=0.05):
    module, ours = networks(config)
    found = {
        name: measured(config, folder / name, encode)
        for name, encode in (("torch", from_torch(module)), ("jax", ours))
    }
    (codes, records), (our_codes, our_records) = found["torch"], found["jax"]
    for part in ("train", "database", "query"):
        np.testing.assert_array_equal(codes[part], our_codes[part])
    assert records[0]["map"] == our_records[0]["map"]
    clean, attacked = (record["map"] for record in our_records)
    print(f"MAP: clean {clean}, attacked {attacked}, in torch {records[1]['map']}")
    assert attacked < clean - falls
    assert records[1]["map"] == pytest.approx(attacked, abs=POINTS)


def settings(queries, training, batch, attacks="worst_case"):
    config = tiny_config.get_config()
    evaluate = dataclasses.replace(
        config.evaluate, attacks=attacks, batch_size=batch, steps=5, gallery=0
    )
    data = dataclasses.replace(
        config.data, num_queries=queries, num_train=training, num_database=training
    )
    return dataclasses.replace(config, data=data, evaluate=evaluate)


@pytest.mark.slow
def test_an_attack_on_a_torch_network_is_that_on_its_twin(tmp_path):
    """The queries fill one batch and a part of a second."""
    config = settings(queries=20, training=88, batch=16, attacks="cgat")
    compare(config, small_networks, tmp_path)


@pytest.mark.long
def test_the_worst_case_of_a_torch_network_is_that_of_its_twin(tmp_path):
    """All of ``standard-v1``, on three queries."""
    compare(settings(queries=3, training=40, batch=3), small_networks, tmp_path)


@pytest.mark.long
def test_the_worst_case_of_many_queries_is_that_of_its_twin(tmp_path):
    compare(settings(queries=20, training=88, batch=20), small_networks, tmp_path)


@pytest.mark.long
def test_an_ensemble_on_alexnet_is_that_on_its_twin(tmp_path, monkeypatch):
    """Not ``standard-v1``: two of its attacks, a few iterations and no restarts."""
    for name, count in (("_GRADIENTS", 4), ("_SEARCH", 6)):
        budget = dataclasses.replace(getattr(worst_case, name), steps=count)
        monkeypatch.setattr(worst_case, name, budget)
    for module in (worst_case, records):
        monkeypatch.setattr(module, "ENSEMBLE", ("apgd", "square"))
    monkeypatch.setattr(worst_case, "RESTARTS", 0)
    config = settings(queries=2, training=8, batch=2)
    compare(config, alexnet_networks, tmp_path, falls=0.02)


@pytest.mark.long
def test_the_worst_case_of_alexnet_is_that_of_its_twin(tmp_path):
    """All of ``standard-v1``, on two queries."""
    config = settings(queries=2, training=16, batch=2)
    compare(config, alexnet_networks, tmp_path, falls=0)
