"""What a run costs, in floating point operations, before it is started."""

import jax
import jax.numpy as jnp

from cgat_jax.attacks import ATTACKS, WORST_CASE, budget_of, parse_attacks
from cgat_jax.config import Config
from cgat_jax.models import make_model
from cgat_jax.worst_case import ENSEMBLE, QUERIES

# Images of the database where a configuration says "all": (database, queries, train).
SIZES = {
    "flickr25k": (23_300, 1_700, 5_000),
    "nus_wide": (193_734, 2_100, 10_500),
    "coco": (117_218, 5_000, 10_000),
    "cifar10": (59_000, 1_000, 5_000),
}


def forward_flops(config: Config) -> float:
    """Operations of one image's forward pass, as XLA counts them."""
    model = make_model(config.model.name, outputs=config.model.bits)
    side = config.data.crop_size
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    params, stats = jax.eval_shape(model.init, jax.random.key(0), image)
    program = jax.jit(lambda params, stats, x: model.apply(params, stats, x)[0])
    return float(program.lower(params, stats, image).cost_analysis()["flops"])


def run_flops(config: Config, *, pretrains: bool) -> float:
    """Operations of a run: training, encoding and attacks.

    With F for a forward pass of an image, a training step is 3F, one of a defense with
    T inner iterations (2T + 6)F, and an iteration of an attack 2F (Square: F). Losses,
    metrics and ProS-GAN's own networks are not counted.
    """
    forward, data, settings = forward_flops(config), config.data, config.evaluate
    all_database, all_queries, all_train = SIZES.get(data.name, (0, 0, 0))
    train = data.num_train or all_train
    queries = data.num_queries or all_queries
    database = data.num_database or all_database
    passes = 0.0
    if pretrains:
        passes += 3 * train * config.pretrain.epochs
    inner = 2 * config.defense.steps + 6
    passes += inner * train * config.defense.epochs
    passes += database + train + queries
    attacked = settings.num_queries or queries
    passes += attacked * sum(map(lambda a: _passes(a, config), _names(config)))
    return passes * forward


def _names(config: Config) -> list[str]:
    return [name for name in parse_attacks(config.evaluate.attacks)]


def _passes(name: str, config: Config) -> float:
    """Forward passes that an attack costs for one query."""
    if name == WORST_CASE:
        return 2 * 100 * (len(ENSEMBLE) - 1) + QUERIES
    steps = budget_of(name, config.evaluate).steps * config.evaluate.restarts
    return steps if ATTACKS[name].black_box else 2 * steps
