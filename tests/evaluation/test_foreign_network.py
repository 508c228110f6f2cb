"""A network that is not ours, trained in PyTorch, evaluated and attacked from JAX."""

import dataclasses

import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.data import load_dataset
from cgat_jax.data.loader import eval_batches
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.models.torch_bridge import from_torch
from cgat_jax.types import HashModel
from tests import tiny_config

torch = pytest.importorskip("torch")
BITS = 16


class Residual(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Sequential(
            torch.nn.Conv2d(width, width, 3, padding=1, groups=4),
            torch.nn.BatchNorm2d(width),
            torch.nn.SiLU(),
            torch.nn.Conv2d(width, width, 1),
        )

    def forward(self, x):
        return x + self.inner(x)


class Foreign(torch.nn.Module):
    """Residual blocks of grouped convolutions: no layout that this package has."""

    def __init__(self, num_classes):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 4, stride=4),
            torch.nn.BatchNorm2d(32),
            Residual(32),
            torch.nn.MaxPool2d(2),
            Residual(32),
            torch.nn.Flatten(),
            torch.nn.Dropout(0.2),
        )
        self.hash = torch.nn.LazyLinear(BITS)
        self.classes = torch.nn.Linear(BITS, num_classes)

    def forward(self, images):
        return self.hash(self.body(2 * images - 1))


def trained(dataset, config):
    """A few hundred steps of classifying relaxed codes."""
    torch.manual_seed(0)
    positions = dataset.split.train
    (batch,) = eval_batches(
        dataset,
        positions,
        crop_size=config.data.crop_size,
        batch_size=len(positions),
        threads=1,
    )
    images = torch.tensor(np.asarray(batch.images).transpose(0, 3, 1, 2)).float() / 255
    labels = torch.tensor(np.asarray(batch.labels)).float()
    module = Foreign(labels.shape[1])
    module(images[:2])
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    loss = torch.nn.BCEWithLogitsLoss()
    for _ in range(120):
        rows = torch.randint(len(images), (64,))
        optimizer.zero_grad()
        codes = torch.tanh(module(images[rows]))
        loss(module.classes(3 * codes), labels[rows]).backward()
        optimizer.step()
    return module


def test_a_network_of_someone_else_is_evaluated_end_to_end(tmp_path):
    config = tiny_config.get_config()
    data = dataclasses.replace(
        config.data, num_queries=40, num_train=400, num_database=400
    )
    evaluate = dataclasses.replace(
        config.evaluate, attacks="cgat", steps=10, batch_size=40, gallery=0
    )
    model = dataclasses.replace(config.model, bits=BITS)
    config = dataclasses.replace(config, data=data, model=model, evaluate=evaluate)
    dataset = load_dataset(config.data, tmp_path / "data", progress=False)
    module = trained(dataset, config)
    encode = from_torch(module)
    network = HashModel(
        lambda key, images: ({}, {}),
        lambda params, stats, images, **_: (encode(images), {}),
    )
    mesh = sharding.make_mesh()
    evaluator = Evaluator(config, dataset, mesh, tmp_path / "run", lambda: None)
    encoded = evaluator.encoded("foreign", network, ({}, {}))
    clean, cgat = evaluator.attacks("foreign", encoded)

    print([(record["map"], record["chance"]) for record in (clean, cgat)])
    assert encoded.codes["database"].shape == (400, BITS) and not clean["warnings"]
    assert clean["map"] > clean["chance"] + 0.07
    assert cgat["map"] < clean["map"] - 0.1
    assert cgat["perturbation"]["linf"] <= 8 / 255 + 1e-6
    assert module.training
