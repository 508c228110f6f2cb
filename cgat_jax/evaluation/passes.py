"""What attacks cost, in forward passes of an image, and what such a pass is."""

import jax

from cgat_jax.attacks import ATTACKS, Budget
from cgat_jax.attacks.nag import COPIES
from cgat_jax.config import Config
from cgat_jax.models import make_model


def budget_passes(name: str, budget: Budget) -> int:
    """Of an attack on one query: 2 an iteration, one where it follows no gradient."""
    entry = ATTACKS[name]
    if name == "noise":
        return 1
    if entry.black_box:
        return budget.steps
    return 2 * budget.steps * (COPIES if name == "nag" else 1)


def forward_flops(config: Config) -> float:
    """Operations of one image's forward pass, as XLA counts them."""
    model = make_model(config.model.name, outputs=config.model.bits)
    side = config.data.crop_size
    image = jax.ShapeDtypeStruct((1, side, side, 3), "float32")
    params, stats = jax.eval_shape(model.init, jax.random.key(0), image)
    program = jax.jit(lambda params, stats, x: model.apply(params, stats, x)[0])
    return float(program.lower(params, stats, image).cost_analysis()["flops"])
