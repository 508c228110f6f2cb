"""What a run costs by the count of its forward passes, and its sanity checks' share."""

import dataclasses

import pytest

from cgat_jax.config import Config, Defense, Evaluate, Training
from cgat_jax.evaluation.sanity import PASSES
from cgat_jax.evaluation.workload import (
    LEAST_QUERIES,
    MOST_QUERIES,
    SHARE,
    Sizes,
    measuring_passes,
    sanity_queries,
    training_passes,
)

SIZES = Sizes(train=2_000, database=3_000, query=500)


@pytest.fixture
def config():
    return Config(
        pretrain=Training(epochs=10),
        defense=Defense(epochs=4, steps=7),
        evaluate=Evaluate(attacks="cgat,square"),
    )


def test_passes_by_hand(config):
    """30 an image of pretraining, 20 an epoch of defense; 2 x 100 and 5,000 queries."""
    assert training_passes(config, 2_000, pretrains=True) == 2_000 * (30 + 80)
    assert training_passes(config, 2_000, pretrains=False) == 2_000 * 80
    assert measuring_passes(config, SIZES) == 5_500 + 500 * (200 + 5_000)


@pytest.mark.parametrize("epochs", [0, 1, 3, 10, 30])
@pytest.mark.parametrize("attacks", ["noise", "cgat", "cgat,worst_case"])
def test_the_checks_take_a_tenth_at_most_between_the_bounds(config, epochs, attacks):
    config.defense.epochs, config.evaluate.attacks = epochs, attacks
    queries = sanity_queries(config, SIZES)
    networks = 1 + (epochs > 0)
    run = training_passes(config, SIZES.train, pretrains=True)
    run += networks * measuring_passes(config, SIZES)
    assert LEAST_QUERIES <= queries <= MOST_QUERIES
    if queries > LEAST_QUERIES:
        assert networks * queries * PASSES <= SHARE * run
    if queries < MOST_QUERIES:
        assert networks * (queries + 1) * PASSES > SHARE * run


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), (7, 7), (64, 40), (-1, 40)])
def test_the_settings_count_and_no_more_than_there_are(config, wanted, found):
    config.evaluate = dataclasses.replace(
        config.evaluate, sanity_queries=wanted, attacks="worst_case"
    )
    config.defense.epochs = 100
    assert sanity_queries(config, SIZES._replace(query=40)) == found
