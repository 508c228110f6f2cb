"""Defenses: each makes the training step of a stage.

A new defense is one file with a step factory and a line in ``DEFENSES``.
"""

from cgat_jax.attacks.pgd import Budget, away_from_references
from cgat_jax.config import Defense, lookup
from cgat_jax.defenses.cgat import make_cgat_step
from cgat_jax.defenses.standard import make_classification_step, make_standard_step


def _cgat(model, loss, tx, settings: Defense):
    budget = Budget(
        epsilon=settings.epsilon, step_size=settings.step_size, steps=settings.steps
    )
    return make_cgat_step(
        model,
        loss,
        away_from_references(budget),
        tx,
        weight=settings.weight,
        bank=settings.bank,
        crafting=settings.crafting,
    )


DEFENSES = {
    "cgat": _cgat,
    "standard": lambda model, loss, tx, settings: make_standard_step(model, loss, tx),
}


def make_defense_step(model, loss, tx, settings: Defense):
    """The step of the defense named in the settings.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    return lookup("defense", settings.name, DEFENSES)(model, loss, tx, settings)


__all__ = ["DEFENSES", "make_classification_step", "make_defense_step"]
__all__ += ["make_cgat_step", "make_standard_step"]
