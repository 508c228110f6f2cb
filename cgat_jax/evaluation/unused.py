"""Options that the chosen loss, defense or network does not have: refused.

Else a run would be called by what it was not trained with.
"""

import dataclasses
import inspect
from typing import Any

from cgat_jax.config import Config, Model
from cgat_jax.defenses import DEFENSES
from cgat_jax.errors import InputError
from cgat_jax.losses import LOSSES
from cgat_jax.models.resnet import LAYOUTS


def check_options(config: Config) -> None:
    """Finds that each option of loss, defense and dropout that was changed is used.

    The inner attack's ball and steps and the weight of the adversarial term may stay in
    a configuration that defenses share, ``standard`` among them; a loss has the options
    of the network that is defended.

    Raises:
        InputError: those that are not.
    """
    wrong = []
    dropout = config.model.dropout
    if config.model.name in LAYOUTS and dropout not in (0.0, Model().dropout):
        name = config.model.name
        wrong += [f"model.dropout={dropout} is not used by {name}: leave it out"]
    if config.loss.name in LOSSES and not config.pretrained:
        wrong += _left_out("loss", config.loss, _unused_of_loss(config.loss.name))
    if config.defense.name in DEFENSES and config.defense.epochs:
        unused = DEFENSES[config.defense.name].unused
        wrong += _left_out("defense", config.defense, unused)
    if wrong:
        raise InputError("; ".join(wrong))


def _unused_of_loss(name: str) -> list[str]:
    """What others have; when CSQ's centers are drawn again is a stage's matter."""
    taken = {key: {*inspect.signature(make).parameters} for key, make in LOSSES.items()}
    for key, own in taken.items():
        if key.startswith("csq"):
            own.add("redraw")
    return sorted({*set().union(*taken.values())} - taken[name])


def _left_out(section: str, settings: Any, unused) -> list[str]:
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    return [
        f"{section}.{key}={value} is not used by {settings.name}: leave it out"
        for key in unused
        if (value := getattr(settings, key)) != defaults[key]
    ]
