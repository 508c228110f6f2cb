"""Evaluations of a linear network: quick to compile, and the same in NumPy."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from cgat_jax import sharding
from cgat_jax.data import load_dataset
from cgat_jax.data.images import center_crop
from cgat_jax.evaluation.attack_runner import EncodedNetwork
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.types import HashModel
from tests import tiny_config

BITS = 12
EPSILON = 2 / 255  # a ball in which attacks come halfway to their goals


def make_config(**settings):
    config = tiny_config.get_config()
    settings = {"epsilon": EPSILON, "top_k": 5, "gallery": 0} | settings
    evaluate = dataclasses.replace(config.evaluate, **settings)
    model = dataclasses.replace(config.model, bits=BITS)
    return dataclasses.replace(config, evaluate=evaluate, model=model)


@functools.cache
def dataset():
    return load_dataset(make_config().data, Path("unused"), progress=False)


@functools.cache
def _weights():
    rng = np.random.default_rng(2)
    return rng.normal(size=(32 * 32 * 3, BITS)).astype(np.float32) / 16


def logits(images):
    """The network in NumPy."""
    return (np.asarray(images, np.float64).reshape(len(images), -1) - 0.5) @ _weights()


def _apply(params, stats, images, *, key=None, mask=None):
    return (images.reshape(len(images), -1) - 0.5) @ params["weights"], stats


class Evaluated(NamedTuple):
    """A finished evaluation, and what it has left on disk."""

    evaluator: Evaluator
    encoded: EncodedNetwork
    records: dict
    folder: Path

    def codes(self, attack):
        """Codes of the queries as they were saved."""
        if attack == "clean":
            return np.load(self.folder / "codes" / "none" / "query.npy")
        return np.load(self.folder / "evaluate" / f"none-{attack}" / "codes.npy")

    def codes_of(self, part):
        return np.load(self.folder / "codes" / "none" / f"{part}.npy")

    @property
    def targets(self):
        return np.load(self.folder / "targets.npy")

    def gallery(self, attack):
        path = self.folder / "evaluate" / f"none-{attack}" / "gallery.json"
        return json.loads(path.read_text())["queries"]


def evaluate(folder, **settings) -> Evaluated:
    """The network's records, by the attack's name."""
    evaluator = Evaluator(
        make_config(**settings), dataset(), sharding.make_mesh(), folder, lambda: None
    )
    network = {"weights": jnp.array(_weights())}, {}
    encoded = evaluator.encoded("none", HashModel(None, _apply), network)
    records = evaluator.attacks("none", encoded)
    named = {record["attack"]: record for record in records}
    return Evaluated(evaluator, encoded, named, folder)


def labels_of(part):
    return dataset().labels[getattr(dataset().split, part)]


def pixels():
    """The queries as the network sees them, float64 in [0, 1]."""
    crops = [center_crop(dataset().read(int(p)), 32) for p in dataset().split.query]
    return np.stack(crops) / 255
