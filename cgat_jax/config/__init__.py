"""Settings of a run: their names, types, defaults and help texts."""

from cgat_jax.config.evaluation import Evaluate
from cgat_jax.config.schema import (
    Config,
    Data,
    Defense,
    Loss,
    Model,
    Training,
)

__all__ = ["Config", "Data", "Defense", "Evaluate", "Loss", "Model", "Training"]
