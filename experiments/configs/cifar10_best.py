"""CIFAR-10 with the recipe of ``quickstart_best.py`` in place of CgAT's settings.

    python -m experiments.main --config=experiments/configs/cifar10_best.py \
        --config.data.root=data/cifar10 --workdir=runs/cifar10_best

Its data, network, first two stages and the ball of its inner attack are those of
``cifar10_cgat.py``. The epochs take about 52 minutes of two idle CPU cores. The weight
is larger than the scenes', as there is clean retrieval to spend (docs/robust.md).
"""

import dataclasses

from cgat_jax.config import Config
from experiments.configs import cifar10_cgat
from experiments.configs.quickstart_best import RECIPE

OWN = {"epochs": 14, "weight": 3.0}


def get_config() -> Config:
    """The configuration of CgAT on CIFAR-10 with other settings of the defense."""
    config = cifar10_cgat.get_config()
    defense = dataclasses.replace(config.defense, **RECIPE | OWN)
    return dataclasses.replace(config, defense=defense)
