"""MAP among training images: its value, when it is measured, and what it leaves be."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.data import load_dataset
from cgat_jax.rng import host_stream
from cgat_jax.training import loop, stages
from cgat_jax.training.training_map import KEY, QUERIES, make_training_map
from cgat_jax.types import Bank, TrainState
from tests import tiny_config
from tests.reference.retrieval import all_average_precisions
from tests.training.test_loop import _run


def _state(codes):
    codes = jnp.asarray(codes, jnp.float32)
    bank = Bank(codes, jnp.zeros((len(codes), 1)))
    return TrainState(jnp.zeros((), int), {}, {}, {}, bank, {})


def _measured(labels, codes, **how):
    how = {"seed": 0, "total": 10, "per_epoch": 5} | how
    return make_training_map(labels, **how)(_state(codes), 0, how["total"])


def test_it_is_the_map_of_drawn_images_that_search_others(rng):
    labels = (rng.random((500, 4)) < 0.3).astype(np.float32)
    codes = np.tanh(rng.standard_normal((500, 8)))
    order = host_stream(3, "training map").permutation(500)
    some, others = order[:QUERIES], order[QUERIES:]
    signs = np.sign(codes).astype(int)
    every = signs[some], labels[some], signs[others], labels[others]
    expected = np.mean(all_average_precisions(*every))
    assert _measured(labels, codes, seed=3) == {KEY: pytest.approx(expected)}


def test_perfect_codes_score_one_and_what_is_not_finite_scores_something():
    labels = np.tile(np.eye(2, dtype=np.float32), (20, 1))
    codes = 2 * labels - 1
    assert _measured(labels, codes) == {KEY: 1.0}
    assert 0 < _measured(labels, np.full((40, 2), np.nan))[KEY] < 1
    assert _measured(labels[:1], codes[:1]) == {}


@pytest.mark.parametrize(
    ("epochs", "log_steps", "expected"),
    [(3, 2, [6, 10, 15]), (3, 5, [5, 10, 15]), (1, 2, [5]), (3, 99, [15])],
)
def test_it_is_measured_once_after_each_epoch_and_at_the_end(
    epochs, log_steps, expected
):
    total, labels = 5 * epochs, np.ones((8, 1))
    measure = make_training_map(labels, seed=0, total=total, per_epoch=5)
    logged = sorted({*range(log_steps, total + 1, log_steps), total})
    before, found = 0, []
    for step in logged:
        found += [step] if measure(_state(np.ones((8, 4))), before, step) else []
        before = step
    assert found == expected


def test_of_many_epochs_twenty_at_most_are_measured():
    labels = np.ones((8, 1))
    measure = make_training_map(labels, seed=0, total=5 * 313, per_epoch=5)
    state = _state(np.ones((8, 4)))
    steps = [s for s in range(1, 5 * 313 + 1) if measure(state, s - 1, s)]
    assert 15 <= len(steps) <= 20 and steps[-1] == 5 * 313
    assert {step % 5 for step in steps} == {0}


@pytest.mark.slow
def test_it_is_logged_and_changes_nothing_of_the_training(tmp_path, monkeypatch):
    config = tiny_config.get_config()
    model = dataclasses.replace(config.model, weights="random")
    config = dataclasses.replace(config, model=model, log_steps=2)

    def trained(folder):
        dataset = load_dataset(config.data, folder, progress=False)
        state = _run(stages._pretrain(config, dataset, folder), config, folder)
        lines = (folder / "pretrain" / "metrics.jsonl").read_text().splitlines()
        return jax.device_get(state), list(map(json.loads, lines))

    state, entries = trained(tmp_path / "a")
    measured = [entry["step"] for entry in entries if KEY in entry]
    assert measured[-1] == entries[-1]["step"] and 0 < entries[-1][KEY] <= 1
    monkeypatch.setattr(loop, "make_training_map", lambda *_, **__: lambda *_: {})
    other, without = trained(tmp_path / "b")
    assert not any(KEY in entry for entry in without)
    jax.tree.map(np.testing.assert_array_equal, state, other)
    losses = [[entry["loss"] for entry in log] for log in (entries, without)]
    assert losses[0] == losses[1]
