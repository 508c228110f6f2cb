"""The quickstart with a longer, smoother training of CgAT at twice its weight.

    python -m experiments.main --config=experiments/configs/quickstart_best.py \
        --workdir=runs/quickstart_best

The inner attack is CgAT's; what differs is in ``RECIPE``. docs/robust.md has how it was
found and what was measured.
"""

import dataclasses

from cgat_jax.config import Config
from experiments.configs import quickstart

RECIPE = {
    "epochs": 16,
    "schedule": "cosine",
    "learning_rate": 0.02,
    "weight": 2.0,
}


def get_config() -> Config:
    """The quickstart's configuration with other settings of the defense."""
    config = quickstart.get_config()
    defense = dataclasses.replace(config.defense, **RECIPE)
    return dataclasses.replace(config, defense=defense)
