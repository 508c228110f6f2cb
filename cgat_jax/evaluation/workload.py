"""What training, encoding and attacks cost, in forward passes of an image."""

from typing import NamedTuple

from cgat_jax.attacks import ATTACKS, WORST_CASE, ordered_attacks
from cgat_jax.attacks.references import GENERATED
from cgat_jax.config import Config, Defense
from cgat_jax.evaluation import sanity_measures as sanity
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.generators import generator_passes
from cgat_jax.evaluation.passes import budget_passes
from cgat_jax.evaluation.worst_case import ENSEMBLE, QUERIES, RESTARTED, RESTARTS

SANITY_QUERIES = 64
"""Of the sanity checks, where the settings leave it open.

The differences of average precision that they hold against 0.005 have a standard
deviation of about 0.012 (100 against 200 iterations, 100 queries of the quickstart): on
64 queries their mean is known to 0.0015, so that 0.005 is three deviations. On 16 it
was known to 0.003, and checks failed that 64 queries pass.
"""
WORST_SHARE = 1 / 3
"""Of a run's training and attacks: what a worst case may cost that nobody named."""
LEAST_WORST = 16
"""Queries below which it says too little: with a deviation of 0.24, to 0.12."""


class Sizes(NamedTuple):
    """How many images there are of each kind."""

    train: int
    database: int
    query: int


def defense_passes(settings: Defense) -> int:
    """Of a defense, an image and epoch: 2T + 6 with T inner steps, AWP's 6 in addition.

    A step of ``standard`` is one of pretraining, 3.
    """
    if settings.name == "standard":
        return 3
    return 2 * settings.steps + 6 + (6 if settings.awp else 0)


def training_passes(config: Config, train: int, *, pretrains: bool) -> int:
    """Of all stages, or of the defense alone: 3 an image and epoch before it."""
    before = config.pretrain.epochs
    if not config.model.weights:
        before += config.backbone.epochs
    passes = defense_passes(config.defense) * config.defense.epochs
    return train * (passes + (3 * before if pretrains else 0))


def measuring_passes(config: Config, sizes: Sizes) -> int:
    """Of encoding all images of one network and attacking it with each attack."""
    names = ordered_attacks(config.evaluate.attack_list)
    each = sum(attack_passes(name, config) for name in names)
    return sum(sizes) + _attacked(config, sizes) * each


def attack_passes(name: str, config: Config) -> int:
    """Of an attack on one query; of the worst case at most, with all its restarts."""
    if name == WORST_CASE:
        return 2 * 100 * (len(ENSEMBLE) - 1 + RESTARTS * len(RESTARTED)) + QUERIES
    budget = budget_of(name, config.evaluate)
    return budget_passes(name, budget) * config.evaluate.restarts


def sanity_queries(config: Config, sizes: Sizes) -> int:
    """How many queries each network of a run is checked on.

    As the settings say; 64 where they leave it open; no more than there are.
    """
    wanted = config.evaluate.sanity_queries
    return min(SANITY_QUERIES if wanted < 0 else wanted, _attacked(config, sizes))


def sanity_passes(config: Config) -> int:
    """Forward passes of a query that all attacks of the sanity checks cost together."""
    settings = config.evaluate
    steps = budget_of(sanity.MAIN, settings).steps
    runs = len(sanity.BUDGETS) + 2 + settings.restarts - 1 + sanity.RESTARTS
    runs += 3  # another network's, a unit's, and in another batch
    own = runs * steps + sum(int(part * steps) for part in sanity.CURVE[:-1])
    others = 25 + 2 * sanity.STEPS  # no budget, and APGD twice
    return 2 * (own + others) + sanity.SQUARE_QUERIES + sanity.STEPS


def worst_case_queries(config: Config, sizes: Sizes) -> int:
    """On how many first queries a worst case is measured that is in no list of attacks.

    As the settings say; where they leave it open, on as many as cost at most a third of
    training, encoding and the other attacks, by the count of forward passes; on none
    where those would be fewer than 16.
    """
    settings, attacked = config.evaluate, _attacked(config, sizes)
    if WORST_CASE in settings.attack_list:
        return 0
    wanted = settings.worst_case_queries
    if wanted < 0:
        networks = max(num_networks(config), 1)
        each = networks * attack_passes(WORST_CASE, config)
        wanted = int(WORST_SHARE * _named_passes(config, sizes) / each)
        wanted = wanted if wanted >= min(LEAST_WORST, attacked) else 0
    return min(wanted, attacked)


def num_networks(config: Config) -> int:
    """How many networks a run trains, all of which it measures."""
    return int(not config.pretrained) + int(config.defense.epochs > 0)


def run_passes(
    config: Config,
    sizes: Sizes,
    *,
    pretrains: bool,
    networks: int,
    others: int | None = None,
) -> dict[str, float]:
    """What the stages of a run cost, in forward passes, by their names and in order.

    Args:
        config: its settings.
        sizes: of its data.
        pretrains: whether it makes its own network before it defends it.
        networks: how many it measures.
        others: networks of other runs that images are made on; by default one of each
            run, and the one that is defended where there are transfers.
    """
    train, settings = sizes.train, config.evaluate
    if others is None:
        defended = bool(settings.transfer) and not pretrains
        others = defended + len(settings.source_list)
    stages: dict[str, float | int] = {}
    if pretrains and config.backbone.epochs and not config.model.weights:
        stages["backbone"] = 3 * train * config.backbone.epochs
    if pretrains:
        stages["pretrain"] = 3 * train * config.pretrain.epochs
    if config.defense.epochs:
        stages["defend"] = training_passes(config, train, pretrains=False)
    attacks = [*settings.attack_list, *settings.transfer_list]
    made = any(ATTACKS[n].references == GENERATED for n in attacks if n in ATTACKS)
    each = measuring_passes(config, sizes) + sanity_passes(config) * sanity_queries(
        config, sizes
    )
    worst = attack_passes(WORST_CASE, config)
    each += worst * worst_case_queries(config, sizes)
    each += generator_passes(config, train) if made else 0
    moved = sum(attack_passes(name, config) for name in settings.transfer_list)
    sources = others + (networks if networks > 1 else 0)  # whose images others see
    transfers = sources * _attacked(config, sizes) * moved
    encoding = others * sum(sizes)
    stages["evaluate"] = networks * each + transfers + encoding
    return {name: float(passes) for name, passes in stages.items()}


def _named_passes(config: Config, sizes: Sizes) -> int:
    """Of all training and of the attacks that the settings name."""
    run = training_passes(config, sizes.train, pretrains=not config.pretrained)
    return run + num_networks(config) * measuring_passes(config, sizes)


def _attacked(config: Config, sizes: Sizes) -> int:
    return min(config.evaluate.num_queries or sizes.query, sizes.query)
