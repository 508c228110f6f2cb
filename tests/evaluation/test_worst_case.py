"""The ensemble's bookkeeping: nothing that any attack found is lost."""

import numpy as np
import pytest

from cgat_jax.attacks import ATTACKS
from cgat_jax.evaluation.attack_runner import AttackResult
from cgat_jax.evaluation.worst_case import (
    ENSEMBLE,
    RESTARTED,
    RESTARTS,
    WorstCase,
    standard_v1,
)

SHOWN = 2


def _left(codes, value=0.0):
    count = len(codes)
    images = np.full((min(SHOWN, count), 1, 1, 3), value)
    return AttackResult(
        np.array(codes), images, np.full(count, value), np.zeros(count), {}
    )


def test_each_query_keeps_its_lowest_average_precision():
    worst = WorstCase(3)
    worst.add(0, _left([[1], [1], [1]], 0.0), np.array([0.5, 0.2, 0.7]))
    worst.add(1, _left([[-1], [-1], [-1]], 1.0), np.array([0.4, 0.3, 0.7]))
    np.testing.assert_array_equal(worst.average_precision, [0.4, 0.2, 0.7])
    np.testing.assert_array_equal(worst.result.codes, [[-1], [1], [1]])
    np.testing.assert_array_equal(worst.result.linf, [1, 0, 0])
    np.testing.assert_array_equal(worst.result.images[:, 0, 0, 0], [1, 0])
    np.testing.assert_array_equal(worst.winning_attack, [1, 0, 0])


def test_a_part_of_the_queries_changes_only_them():
    worst = WorstCase(4)
    worst.add(0, _left([[1]] * 4), np.full(4, 0.5))
    rows = np.array([1, 3])
    worst.add(2, _left([[-1]] * 2, 1.0), np.array([0.1, 0.1]), rows)
    np.testing.assert_array_equal(worst.result.codes[:, 0], [1, -1, 1, -1])
    # Of the two images kept, only query 1's is among the first two queries'.
    np.testing.assert_array_equal(worst.result.images[:, 0, 0, 0], [0, 1])
    np.testing.assert_array_equal(worst.winning_attack, [0, 2, 0, 2])


class _Scripted:
    """Attacks whose results are given: a code's only bit is its AP in percent."""

    def __init__(self, found):
        self.found, self.calls = found, []

    def __call__(self, name, budget, rows, restart):
        self.calls.append((name, restart, len(rows), budget))
        return _left(self.found(name, restart)[rows][:, None])


def _search(attack, holds_above):
    return standard_v1(attack, lambda codes, rows: codes[:, 0] / 100, holds_above)


@pytest.fixture
def scripted(rng):
    table = {
        (name, restart): rng.integers(20, 90, 12)
        for name in ENSEMBLE
        for restart in range(RESTARTS + 1)
    }
    return _Scripted(lambda name, restart: table[name, restart]), table


def test_the_worst_case_is_at_most_every_attack_of_it(scripted):
    attack, table = scripted
    found = _search(attack, np.zeros(12))
    expected = np.min(
        [v for (n, r), v in table.items() if r == 0 or n in RESTARTED], axis=0
    )
    np.testing.assert_allclose(found.worst.average_precision, expected / 100)
    for name in ENSEMBLE:
        assert found.worst.average_precision.mean() <= found.map_per_attack[name]
        assert found.map_per_attack[name] == pytest.approx(table[name, 0].mean() / 100)


def test_only_what_still_holds_is_attacked_again(scripted):
    attack, table = scripted
    first = np.min([table[name, 0] for name in ENSEMBLE], axis=0) / 100
    level = np.full(12, float(np.median(first)))
    found = _search(attack, level)
    again = [count for _, restart, count, _ in attack.calls if restart]
    assert found.restarted == (first > level).sum() == again[0] < 12
    assert again == sorted(again, reverse=True)
    held = first <= level
    np.testing.assert_allclose(found.worst.average_precision[held], first[held])


def test_nothing_is_repeated_where_everything_fell():
    attack = _Scripted(lambda name, restart: np.full(5, 1))
    found = _search(attack, np.full(5, 0.3))
    assert [call[:2] for call in attack.calls] == [(name, 0) for name in ENSEMBLE]
    assert found.restarted == 0


def test_standard_v1_is_frozen():
    """Other numbers would need another name."""
    attack = _Scripted(lambda name, restart: np.full(3, 90))
    _search(attack, np.full(3, 0.3))
    budgets = {name: budget for name, _, _, budget in attack.calls}
    assert list(budgets) == list(ENSEMBLE)
    for name, budget in budgets.items():
        square = name == "square"
        assert budget.steps == (1000 if square else 100)
        assert budget.relaxation == ("tanh" if square else "unit")
        assert budget.random_start and budget.alpha == "one"
        assert name in ATTACKS
    calls = [(name, restart) for name, restart, _, _ in attack.calls]
    again = [(name, restart) for restart in (1, 2, 3, 4) for name in RESTARTED]
    assert calls == [*((name, 0) for name in ENSEMBLE), *again]
