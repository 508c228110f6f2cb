"""Budgets of attacks, from a run's settings."""

from cgat_jax.attacks import Budget, resolve_budget
from cgat_jax.config import Evaluate


def budget_of(name: str, settings: Evaluate) -> Budget:
    """The budget of an attack, its own where the settings leave it open.

    Raises:
        InputError: the attack or the preset is unknown; lists the known ones.
    """
    return resolve_budget(
        name,
        epsilon=settings.epsilon,
        preset=settings.preset,
        steps=settings.steps,
        step_size=settings.step_size,
        relaxation=settings.surrogate,
    )
