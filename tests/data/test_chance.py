import numpy as np
import pytest

from cgat_jax.data.checks.chance import map_bounds
from cgat_jax.retrieval import evaluate_retrieval


def test_chance_and_ceiling_are_those_of_the_records(rng):
    """Reference: the evaluation of codes, whose chance every record carries."""
    query = (rng.random((40, 6)) < 0.2).astype(np.uint8)
    database = (rng.random((300, 6)) < 0.2).astype(np.uint8)
    query[:3] = 0
    codes = [rng.choice([-1.0, 1.0], (len(rows), 8)) for rows in (query, database)]
    scores = evaluate_retrieval(codes[0], query, codes[1], database)
    bounds = map_bounds(query, database)
    assert bounds.chance == pytest.approx(scores.chance, abs=1e-12)
    assert bounds.ceiling == pytest.approx(scores.ceiling, abs=1e-12)
    assert bounds.unanswerable == scores.num_queries_without_relevant >= 3


def test_a_case_by_hand():
    query = np.array([[1, 0], [0, 0]], np.uint8)
    database = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], np.uint8)
    assert map_bounds(query, database) == (0.25, 0.5, 1)


@pytest.mark.slow
def test_a_split_as_large_as_nus_wide_is_counted_exactly(rng):
    rates = np.geomspace(0.38, 0.026, 21)
    database = (rng.random((193_734, 21)) < rates).astype(np.uint8)
    chance, ceiling, unanswerable = map_bounds(database[:2_100], database)
    few = (database[:20].astype(int) @ database.T.astype(int) > 0).mean(axis=1)
    assert map_bounds(database[:20], database)[0] == pytest.approx(few.mean())
    assert 0 < chance < ceiling <= 1
    assert unanswerable == (~database[:2_100].any(axis=1)).sum()
