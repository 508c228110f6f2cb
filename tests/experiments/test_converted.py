"""A run that defends a hashing network of someone else's PyTorch file."""

import numpy as np
import pytest

import cgat_jax as cj
from cgat_jax.models import make_model
from cgat_jax.models.torch_import.weights import (
    network_shapes,
    torch_names,
    torch_shape,
)
from tests.models.torch_files import state_of, write_zip
from tests.runs import read_records, run_main

BITS = 8
RUN = {
    "model.name": "resnet18",
    "data.num_queries": 6,
    "data.num_train": 10,
    "data.num_database": 12,
    "defense.epochs": 1,
    "defense.steps": 1,
    "defense.batch_size": 5,
    "evaluate.batch_size": 6,
    "evaluate.attacks": "cgat",
    "evaluate.steps": 1,
    "evaluate.gallery": 0,
}


def hashing_network(path):
    """A file of ResNet-18 with a hash head, as a training in PyTorch leaves it."""
    rng = np.random.default_rng(0)
    shapes = network_shapes(make_model("resnet18", outputs=BITS))
    state = {}
    for theirs, ours in torch_names("resnet18").items():
        shape = torch_shape(ours, shapes[ours])
        state[theirs] = np.full(shape, ours.endswith(("scale", "var")), np.float32)
        if len(shape) > 1:
            spread = np.sqrt(2 / np.prod(shape[1:]))
            state[theirs] = spread * rng.standard_normal(shape, np.float32)
    write_zip(path, state_of(state))
    return path


@pytest.mark.long
def test_a_run_defends_a_converted_network(tmp_path):
    source, out = hashing_network(tmp_path / "w.pth"), tmp_path / "w.safetensors"
    options = [f"--config.{key}={value}" for key, value in RUN.items()]
    options.append(f"--config.pretrained={out}")
    cj.convert_weights(source, out)
    done = run_main(tmp_path / "run", tmp_path / "cache", *options)
    assert done.returncode == 2 and "data.crop_size: 224 -> 32" in done.stderr
    cj.convert_weights(source, out, image_size=40, crop_size=32)
    done = run_main(tmp_path / "run", tmp_path / "cache", *options)
    assert done.returncode == 0, done.stderr
    records = read_records(tmp_path / "run")
    assert [r["attack"] for r in records] == ["clean", "cgat"]
    assert {(r["backbone"], r["defense"]) for r in records} == {("resnet18", "cgat")}
    defended, given = cj.load_network(tmp_path / "run"), cj.load_network(out)
    assert defended.bits == given.bits == BITS
    moved = defended.params["conv1"]["kernel"] - given.params["conv1"]["kernel"]
    assert 0 < np.abs(moved).max() < 0.1
