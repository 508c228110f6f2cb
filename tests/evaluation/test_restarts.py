"""Restarts: other random starts, of which each query keeps its worst."""

import dataclasses
import itertools

import numpy as np
import pytest

from cgat_jax.evaluation import worst_case
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.worst_case import RESTARTED, RESTARTS, attack_first
from tests.evaluation import linear
from tests.reference.retrieval import all_average_precisions

COUNT = 20
RADIUS = 32 / 255  # so that a step of 1 / 255 leaves much to where it starts


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restarts")
    settings = {"attacks": "cgat,p2p", "epsilon": RADIUS, "steps": 1, "gallery": 2}
    return linear.evaluate(folder, restarts=3, **settings)


def _once(evaluated, attack, restart, **budget):
    """One start alone; without its iterations, for ``steps=0``."""
    attacker = evaluated.evaluator.attacker
    own = budget_of(attack, attacker.config.evaluate)
    return attacker.run(
        attack,
        evaluated.encoded,
        budget=dataclasses.replace(own, **budget),
        restart=restart,
        keep=COUNT,
    )


def _precision(evaluated, codes):
    database = evaluated.codes_of("database"), linear.labels_of("database")
    return all_average_precisions(codes, linear.labels_of("query"), *database, 5)


def _all_differ(stacks):
    """Whether every image differs from itself in each other stack of images."""
    return all(
        (one != other).any(axis=(1, 2, 3)).all()
        for one, other in itertools.combinations(stacks, 2)
    )


def test_each_start_is_another_point_of_the_ball(evaluated):
    """Without iterations: where it starts. P2P's own start is the image itself."""
    starts = {
        (attack, restart): np.asarray(_once(evaluated, attack, restart, steps=0).images)
        for attack in ("cgat", "p2p")
        for restart in range(3)
    }
    assert _all_differ(starts.values())
    np.testing.assert_allclose(starts.pop(("p2p", 0)), linear.pixels(), atol=1e-6)
    for start in starts.values():
        change = np.abs(start - linear.pixels())
        assert change.max() <= RADIUS + 1e-6
        assert change.mean() > 0.4 * RADIUS  # uniform: a half


@pytest.mark.parametrize("attack", ["cgat", "p2p"])
def test_a_query_keeps_the_lowest_of_all_its_starts(evaluated, attack):
    alone = [_once(evaluated, attack, restart) for restart in range(3)]
    assert _all_differ([result.images for result in alone])
    found = np.stack([_precision(evaluated, result.codes) for result in alone])
    best = found.argmin(axis=0)  # of equals, the first
    assert (found[1:].min(axis=0) < found[0]).any() and (best == 0).any()
    expected = np.array([alone[best[row]].codes[row] for row in range(COUNT)])
    record = evaluated.records[attack]
    np.testing.assert_array_equal(evaluated.codes(attack), expected)
    assert record["map"] == pytest.approx(found.min(axis=0).mean(), abs=1e-12)
    assert record["map"] < found.mean(axis=1).min() - 0.002
    mse = [alone[best[row]].mse[row] for row in range(COUNT)]
    assert record["perturbation"]["rmse"] == pytest.approx(np.mean(mse) ** 0.5)
    shown = [e["average_precision_after"] for e in evaluated.gallery(attack)]
    assert shown == pytest.approx(found.min(axis=0)[:2])


def test_restarts_of_the_worst_case_are_runs_from_other_starts(tmp_path, monkeypatch):
    """As ``attack_first`` makes them; without iterations, and of all queries."""
    gradients = dataclasses.replace(worst_case._GRADIENTS, steps=0)
    monkeypatch.setattr(worst_case, "_GRADIENTS", gradients)
    monkeypatch.setattr(worst_case, "ENSEMBLE", RESTARTED)
    evaluator, encoded, _, _ = linear.evaluate(tmp_path, attacks="", gallery=COUNT)
    run, made = evaluator.attacker.run, {}

    def recorded(name, network, *, restart, **settings):
        result = run(name, network, restart=restart, **settings)
        made[name, restart] = np.asarray(result.images)
        return result

    monkeypatch.setattr(evaluator.attacker, "run", recorded)
    monkeypatch.setattr(evaluator.scorer, "chances", lambda rows: np.full(COUNT, -1.0))
    attack_first(evaluator.attacker, evaluator.scorer, encoded, np.arange(COUNT))
    assert set(made) == set(itertools.product(RESTARTED, range(RESTARTS + 1)))
    assert _all_differ(made.values())
    for images in made.values():
        assert np.abs(images - linear.pixels()).max() <= linear.EPSILON + 1e-6
