"""What a run costs, in floating point operations, before it is started."""

import jax
import jax.numpy as jnp

from cgat_jax.attacks import ATTACKS, WORST_CASE, budget_of, parse_attacks
from cgat_jax.config import Config
from cgat_jax.data.known import KNOWN
from cgat_jax.models import make_model
from cgat_jax.worst_case import ENSEMBLE, QUERIES


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
    metrics and ProS-GAN's own networks are not counted. Where the configuration says
    all images, they are as many as the paper has.
    """
    forward, data, settings = forward_flops(config), config.data, config.evaluate
    known = KNOWN.get(data.name)
    all_queries, all_database, all_train = known.paper if known else (0, 0, 0)
    train = data.num_train or all_train
    queries = data.num_queries or all_queries
    database = data.num_database or all_database
    passes = 0.0
    if pretrains:
        passes += 3 * train * config.pretrain.epochs
    inner = 2 * config.defense.steps + 6
    passes += inner * train * config.defense.epochs
    passes += database + train + queries
    names = parse_attacks(settings.attacks)
    attacked = settings.num_queries or queries
    passes += attacked * sum(_passes(name, config) for name in names)
    return passes * forward


def _passes(name: str, config: Config) -> float:
    """Forward passes that an attack costs for one query."""
    if name == WORST_CASE:
        return 2 * 100 * (len(ENSEMBLE) - 1) + QUERIES
    steps = budget_of(name, config.evaluate).steps * config.evaluate.restarts
    return steps if ATTACKS[name].black_box else 2 * steps
