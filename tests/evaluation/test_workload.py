"""What a run costs by the count of its forward passes, and its sanity checks' share."""

import dataclasses

import pytest

from cgat_jax.config import Config, Defense, Evaluate, Training
from cgat_jax.errors import InputError
from cgat_jax.evaluation.preflight import check_attacks
from cgat_jax.evaluation.workload import (
    LEAST_WORST,
    SANITY_QUERIES,
    WORST_SHARE,
    Sizes,
    attack_passes,
    measuring_passes,
    run_passes,
    sanity_passes,
    sanity_queries,
    training_passes,
    worst_case_queries,
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
    config.backbone.epochs = 2  # which weights take the place of
    assert training_passes(config, 2_000, pretrains=True) == 2_000 * (6 + 30 + 80)
    config.model.weights = "packed"
    assert training_passes(config, 2_000, pretrains=True) == 2_000 * (30 + 80)
    config.defense.awp = 0.005  # two more gradients of the weights, of both batches
    assert training_passes(config, 2_000, pretrains=False) == 2_000 * 104
    config.defense = Defense(name="standard", epochs=4)
    assert training_passes(config, 2_000, pretrains=False) == 2_000 * 12
    assert measuring_passes(config, SIZES) == 5_500 + 500 * (200 + 5_000)
    assert attack_passes("noise", config) == 1
    assert attack_passes("worst_case", config) == 4 * 200 + 1_000 + 4 * 2 * 200


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), (7, 7), (64, 40), (-1, 40)])
def test_the_settings_count_and_no_more_than_there_are(config, wanted, found):
    config.evaluate = dataclasses.replace(
        config.evaluate, sanity_queries=wanted, attacks="worst_case"
    )
    config.defense.epochs = 100
    assert sanity_queries(config, SIZES._replace(query=40)) == found
    if wanted < 0:
        assert sanity_queries(config, SIZES) == SANITY_QUERIES


@pytest.mark.parametrize("epochs", [0, 1, 4, 30, 100])
@pytest.mark.parametrize("attacks", ["noise", "cgat", "cgat,square"])
def test_a_worst_case_takes_a_third_of_all_else_at_most(config, epochs, attacks):
    config.defense.epochs, config.evaluate.attacks = epochs, attacks
    config.model.weights = "packed"
    queries = worst_case_queries(config, SIZES)
    config.evaluate.worst_case_queries = 0
    networks = 1 + (epochs > 0)
    other = run_passes(config, SIZES, pretrains=True, networks=networks)
    checks = networks * sanity_passes(config) * sanity_queries(config, SIZES)
    each = networks * attack_passes("worst_case", config)
    fits = int(WORST_SHARE * (sum(other.values()) - checks) / each)
    assert queries == (min(fits, 500) if fits >= LEAST_WORST else 0)
    config.evaluate.worst_case_queries = queries
    whole = run_passes(config, SIZES, pretrains=True, networks=networks)
    assert sum(whole.values()) == sum(other.values()) + queries * each


def test_a_worst_case_comes_by_itself_where_it_fits(config):
    """About 30 fit the quickstart, and none a run that trains for an epoch."""
    config.evaluate.attacks = "noise,cgat"
    assert 16 <= worst_case_queries(config, SIZES) < 500
    config.evaluate.attacks, config.pretrain.epochs = "noise", 1
    config.defense.epochs = 0
    assert worst_case_queries(config, SIZES) == 0
    config.evaluate.worst_case_queries = 12
    assert worst_case_queries(config, SIZES) == 12
    config.evaluate.attacks = "noise,worst_case"
    assert worst_case_queries(config, SIZES) == 0
    config.evaluate.attacks, config.defense.epochs = "cgat", 5_000
    config.evaluate.worst_case_queries = -1
    assert worst_case_queries(config, SIZES) == SIZES.query


def test_the_stages_of_a_run_are_those_that_it_has(config):
    config.model.weights, config.backbone.epochs = "", 2
    stages = run_passes(config, SIZES, pretrains=True, networks=2)
    assert list(stages) == ["backbone", "pretrain", "defend", "evaluate"]
    assert stages["backbone"] == 3 * 2 * 2_000 and stages["pretrain"] == 3 * 10 * 2_000
    assert stages["defend"] == 20 * 4 * 2_000
    config.defense.epochs = 0
    stages = run_passes(config, SIZES, pretrains=False, networks=1)
    assert list(stages) == ["evaluate"]


def test_images_of_the_network_that_is_defended_are_counted(config):
    """Where they are moved to the run's own; a run of two moves each one's."""
    config.evaluate.attacks, config.evaluate.transfer = "noise", ""
    config.evaluate.sanity_queries, config.evaluate.worst_case_queries = 0, 0

    def cost(**networks):
        return run_passes(config, SIZES, **networks)["evaluate"]

    for given, sources in (
        ({"pretrains": False, "networks": 1}, 1),
        ({"pretrains": True, "networks": 1}, 0),
        ({"pretrains": True, "networks": 2}, 2),
    ):
        config.evaluate.transfer = ""
        without = cost(**given)
        config.evaluate.transfer = "cgat"
        encoding = 0 if given["pretrains"] else sum(SIZES)
        expected = sources * 500 * attack_passes("cgat", config) + encoding
        assert cost(**given) - without == expected


@pytest.mark.parametrize("where", ["attacks", "transfer"])
def test_an_objective_for_codes_is_not_given_logits(where):
    """Transfers were not looked at."""
    evaluate = Evaluate(surrogate="logits", attacks="noise", transfer="")
    setattr(evaluate, where, "cgat,hag,saat")
    with pytest.raises(InputError, match="saat compares codes of about 1") as caught:
        check_attacks(Config(evaluate=evaluate))
    assert "cgat compares" not in str(caught.value)
