"""What training, encoding and attacks cost, in forward passes of an image."""

from typing import NamedTuple

from cgat_jax.attacks import ATTACKS, WORST_CASE, ordered_attacks
from cgat_jax.attacks.nag import COPIES
from cgat_jax.config import Config
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.sanity import PASSES
from cgat_jax.evaluation.worst_case import ENSEMBLE, QUERIES

LEAST_QUERIES, MOST_QUERIES = 16, 64
"""Of the sanity checks, where the settings leave it open."""
SHARE = 0.1
"""Of a run's cost: what the sanity checks may take, where they are left open."""


class Sizes(NamedTuple):
    """How many images there are of each kind."""

    train: int
    database: int
    query: int


def training_passes(config: Config, train: int, *, pretrains: bool) -> int:
    """Of pretraining and defense: 3 an image and epoch, 2T + 6 with T inner steps."""
    inner = 2 * config.defense.steps + 6
    pretraining = 3 * config.pretrain.epochs if pretrains else 0
    return train * (pretraining + inner * config.defense.epochs)


def measuring_passes(config: Config, sizes: Sizes) -> int:
    """Of encoding all images of one network and attacking it with each attack."""
    settings = config.evaluate
    attacked = settings.num_queries or sizes.query
    names = ordered_attacks(settings.attack_list)
    return sum(sizes) + attacked * sum(attack_passes(name, config) for name in names)


def attack_passes(name: str, config: Config) -> int:
    """Of an attack on one query: 2 an iteration, one where it is a black box."""
    if name == WORST_CASE:
        return 2 * 100 * (len(ENSEMBLE) - 1) + QUERIES
    steps = budget_of(name, config.evaluate).steps * config.evaluate.restarts
    if ATTACKS[name].black_box:
        return steps
    return 2 * steps * (COPIES if name == "nag" else 1)


def sanity_queries(config: Config, sizes: Sizes) -> int:
    """How many queries each network of a run is checked on.

    As the settings say; where they leave it open, as many as cost at most a tenth of
    the run by the count of its forward passes, but 16 at least and 64 at most.
    """
    wanted = config.evaluate.sanity_queries
    if wanted < 0:
        networks = (not config.pretrained) + (config.defense.epochs > 0)
        run = training_passes(config, sizes.train, pretrains=not config.pretrained)
        run += networks * measuring_passes(config, sizes)
        wanted = int(SHARE * run / (max(networks, 1) * PASSES))
        wanted = min(max(wanted, LEAST_QUERIES), MOST_QUERIES)
    return min(wanted, config.evaluate.num_queries or sizes.query)
