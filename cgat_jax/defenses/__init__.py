"""Defenses: each makes the training step of a stage.

A new defense is one file with a step factory and a line in ``DEFENSES``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax

from cgat_jax.attacks.pgd import Budget, away_from_references
from cgat_jax.config import Defense
from cgat_jax.defenses.atrdh import make_atrdh_step, start_atrdh
from cgat_jax.defenses.cgat import make_at_self_step, make_cgat_step
from cgat_jax.defenses.descent import with_average
from cgat_jax.defenses.saat import make_saat_step
from cgat_jax.defenses.standard import make_classification_step, make_standard_step
from cgat_jax.errors import lookup
from cgat_jax.types import Attack, HashLoss, HashModel, StepFn, TrainState

__all__ = ["DEFENSES", "DefenseEntry", "make_classification_step"]
__all__ += ["make_defense_step", "make_standard_step", "start_defense"]


class DefenseEntry(NamedTuple):
    """How a defense makes its step, and the state that it starts from.

    ``make(model, loss, attack, tx, settings, steps_per_epoch) -> step``;
    ``start(key, state, settings, database_labels) -> state`` adds what the defense
    keeps besides; the state's bank holds the codes of the first pass.
    ``unused`` are the options of the settings that the defense does not have.
    """

    make: Callable[..., StepFn]
    start: Callable[..., TrainState] = lambda key, state, settings, labels: state
    unused: tuple[str, ...] = ()


def _without_epochs(make: Callable[..., StepFn], *unused: str) -> DefenseEntry:
    return DefenseEntry(lambda *parts: make(*parts[:-1]), unused=unused)


def _standard(
    model: HashModel,
    loss: HashLoss,
    attack: Attack,
    tx: optax.GradientTransformation,
    *_,
) -> StepFn:
    return make_standard_step(model, loss, tx)


DEFENSES = {
    "cgat": _without_epochs(make_cgat_step),
    "saat": _without_epochs(make_saat_step, "centers"),
    "at_self": _without_epochs(make_at_self_step, "bank", "centers"),
    "atrdh": DefenseEntry(make_atrdh_step, start_atrdh, ("bank", "centers")),
    "standard": DefenseEntry(
        _standard,
        unused=(
            *("bank", "centers", "crafting", "surrogate"),
            *("quantization", "consistency", "awp"),
        ),
    ),
}


def make_defense_step(
    model: HashModel,
    loss: HashLoss,
    tx: optax.GradientTransformation,
    settings: Defense,
    steps_per_epoch: int,
) -> StepFn:
    """The step of the defense named in the settings.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    entry = lookup("defense", settings.name, DEFENSES)
    budget = Budget(
        epsilon=settings.epsilon,
        step_size=settings.step_size,
        steps=settings.steps,
        relaxation=settings.surrogate,
    )
    attack = away_from_references(budget)
    step = entry.make(model, loss, attack, tx, settings, steps_per_epoch)
    return with_average(step, settings.ema) if settings.ema else step


def start_defense(
    key: jax.Array, state: TrainState, settings: Defense, database_labels: np.ndarray
) -> TrainState:
    """The state that the defense named in the settings starts from.

    Args:
        key: of what the defense draws.
        state: pretrained, with the bank of the first pass.
        settings: ``ema`` adds the averaged weights.
        database_labels: multi-hot [M, C].
    """
    state = DEFENSES[settings.name].start(key, state, settings, database_labels)
    if not settings.ema:
        return state
    return state._replace(ema=(state.params["model"], state.stats))
