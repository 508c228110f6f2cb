"""Attacks. A new one is a factory of ``Attack`` and a line in ``ATTACKS``."""

from collections.abc import Callable
from typing import NamedTuple

from cgat_jax.attacks.pgd import Budget, away_from_references, random_noise
from cgat_jax.config import lookup
from cgat_jax.types import Attack


class AttackEntry(NamedTuple):
    """How an attack is made, what codes it is given, and how tables call it."""

    make: Callable[[Budget], Attack]
    references: str
    """``center``: center codes of the true labels; ``none``: it needs no codes."""
    title: str


ATTACKS = {
    "noise": AttackEntry(random_noise, "none", "random noise"),
    "cgat": AttackEntry(away_from_references, "center", "CgAT's attack"),
}


def parse_attacks(names: str) -> list[str]:
    """The attacks of a comma separated list, in order, without repetition.

    Raises:
        ValueError: a name is unknown; the message lists the known ones.
    """
    attacks = list(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    for name in attacks:
        lookup("attack", name, ATTACKS)
    return attacks
