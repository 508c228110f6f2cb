"""A network that is not ours, a classifier of torchvision's, benchmarked end to end."""

import importlib

import numpy as np
import pytest

import cgat_jax as cj
from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.images import center_crop
from cgat_jax.evaluation.sanity import CHECKS

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # more wait for each other where cores are busy
BITS, SIDE = 16, 32
_declared = []


def torchvision():
    """The package, also beside a PyTorch for CPUs.

    Its wheel is made for CUDA; elsewhere its library of operators is not loaded, and
    importing it fails over two that it only declares, both for the boxes of detectors.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed")
    except RuntimeError as error:
        assert "operator torchvision::" in str(error)
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    _declared.append(library)  # they last as long as it
    return importlib.import_module("torchvision")


def trained(dataset, iterations):
    """A small ResNet with a linear hash head that has seen which images are alike."""
    torch.manual_seed(0)
    models = torchvision().models
    network = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1])
    network.fc = torch.nn.Linear(network.fc.in_features, BITS)
    normalize = torchvision().transforms.Normalize(0.5, 0.25)
    module = torch.nn.Sequential(normalize, network)
    positions = dataset.split.train
    pixels = np.stack([center_crop(dataset.read(int(i)), SIDE) for i in positions])
    images = torch.tensor(pixels.transpose(0, 3, 1, 2)).float() / 255
    labels = torch.tensor(dataset.labels[positions]).float()
    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(iterations):
        rows = torch.randint(len(images), (64,))
        optimizer.zero_grad()
        codes = torch.tanh(module(images[rows]))
        alike = (labels[rows] @ labels[rows].T > 0).float()
        loss(codes @ codes.T / 2, alike).backward()
        optimizer.step()
    optimizer.zero_grad()
    return module


def measured(folder, queries, iterations, **settings):
    sizes = {"num_queries": queries, "num_train": 1000, "num_database": 1000}
    scenes = Data(name="quickstart", image_size=40, crop_size=SIDE, **sizes)
    dataset = load_dataset(scenes, folder, progress=False)
    module = trained(dataset, iterations)
    settings = cj.BenchmarkSettings(crop_size=SIDE, batch_size=queries, **settings)
    result = cj.benchmark(cj.from_torch(module), dataset, settings=settings)
    assert module.training and all(x.grad is None for x in module.parameters())
    assert result.clean["bits"] == BITS and not result.clean["warnings"]
    assert result.map("clean") > result.clean["chance"] + 0.02
    assert result.map("cgat") < min(result.map("noise"), result.map("clean")) - 0.02
    for record in result.records[1:]:
        assert record["perturbation"]["linf"] <= 8 / 255 + 1e-6
    return result


@pytest.mark.long
def test_a_classifier_of_torchvision_is_benchmarked(tmp_path):
    """In seconds: an attack of ten iterations, no ensemble and no sanity checks."""
    result = measured(
        tmp_path, 20, 45, attacks="noise,cgat", steps=10, sanity_queries=0
    )
    page = result.save(tmp_path / "saved").read_text()
    assert f"{100 * result.map('cgat'):.2f}" in page


@pytest.mark.long
def test_a_classifier_of_torchvision_is_benchmarked_in_full(tmp_path):
    """``standard-v1`` and all sanity checks, as ``cj.benchmark`` has them."""
    result = measured(tmp_path, 16, 100, sanity_queries=16)
    assert result.worst_case["map"] <= result.map("cgat") + 1e-6
    (sanity,) = result.sanity
    assert [check["name"] for check in sanity["checks"]] == list(CHECKS)
    table, page = result.to_markdown(), result.save(tmp_path / "saved").read_text()
    for value in (result.map("clean"), result.map("worst_case")):
        assert f"{100 * value:.2f}" in table and f"{100 * value:.2f}" in page
