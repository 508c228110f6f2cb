"""How long photos are trained on a CPU, so that a run of thousands takes minutes.

A run is sized by its forward passes: those of training, and those of measuring two
networks with the sanity checks and a worst case, which cost as much. What a pass takes
was measured with the network ``small`` on two cores (2026-11-28): about the same at 32
and 48 pixels, since little of the time at 32 is arithmetic.
"""

from cgat_jax.config import Config
from cgat_jax.evaluation.workload import (
    WORST_SHARE,
    Sizes,
    defense_passes,
    measuring_passes,
    sanity_passes,
    sanity_queries,
)

STAGES = {"backbone": 40, "pretrain": 30, "defense": 15}
"""Epochs where the scale is 1."""
LEAST, ENOUGH, MOST = 0.25, 0.5, 1.0
"""The scale's range, and above which larger images are worth fewer epochs."""
_SECONDS = 500.0
"""Of a run, without compiling, reading and the report."""
_PASS, SAME_COST_SIDE = 0.23e-3, 48
"""Seconds of a pass at that side or below; beyond, they grow with the pixels."""


def epoch_scale(config: Config, sizes: Sizes, side: int) -> float:
    """The part of ``STAGES`` that leaves a run of images of that side in the budget."""
    passes = _SECONDS / (_PASS * max(1.0, (side / SAME_COST_SIDE) ** 2))
    named = 2 * measuring_passes(config, sizes)
    doubting = 2 * sanity_passes(config) * sanity_queries(config, sizes)
    left = (passes - doubting) / (1 + WORST_SHARE) - named
    before = STAGES["pretrain"] + (0 if config.model.weights else STAGES["backbone"])
    each = 3 * before + defense_passes(config.defense) * STAGES["defense"]
    return min(max(left / (sizes.train * each), LEAST), MOST)
