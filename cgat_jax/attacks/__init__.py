"""Attacks. A new one is a factory of ``Attack`` and a line in ``ATTACKS``."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

from cgat_jax.attacks import objectives
from cgat_jax.attacks.apgd import apgd, apgd_average_precision, apgd_towards
from cgat_jax.attacks.nag import nag
from cgat_jax.attacks.pgd import (
    Budget,
    away_from_references,
    descent_attack,
    random_noise,
    towards_references,
)
from cgat_jax.attacks.prosgan import prosgan
from cgat_jax.attacks.square import square
from cgat_jax.attacks.untargeted import hag, sdha
from cgat_jax.errors import check_all, lookup
from cgat_jax.models.gan import make_generator
from cgat_jax.types import Attack, Bank, PyTree

__all__ = [
    "ATTACKS",
    "BOUNDED_CODES",
    "PRESETS",
    "WORST_CASE",
    "AttackEntry",
    "Budget",
    "AttackContext",
    "parse_attacks",
    "resolve_budget",
]

# Most iterations of an attack.
PRESETS = {"paper": 10_000, "fast": 100}


class AttackContext(NamedTuple):
    """What an attacker knows of the network and has trained against it.

    ``bank`` has the training images' binary codes; ``generator`` the parameters of
    ProS-GAN's, of that share ``width`` of the paper's channels.
    """

    bank: Bank
    generator: PyTree = ()
    width: float = 1.0


class AttackEntry(NamedTuple):
    """How an attack is made, what it is given, and how the paper sets it.

    ``make(budget, known)`` is a factory of ``Attack``. The references are, one an
    image: ``none``, the ``own`` clean code, ``center`` codes or ``mainstay`` codes of
    the true labels, the true ``labels`` themselves, the ``hardest_anchor`` of foreign
    label sets; of the target label set, the code of an ``image``, an ``anchor``, a
    ``prototype`` or a ``target_mainstay`` code, or what is ``generated`` for it: a
    prototype code and features.

    An attack that is not ``bounded`` leaves the ball; ``signs`` tells whether
    ``step_size`` is a step by signs; the iterations of a ``black_box`` attack are its
    queries of the network. No preset cuts the iterations of one that needs its
    ``whole`` number.
    """

    make: Callable[[Budget, AttackContext], Attack]
    references: str
    budget: Budget
    signs: bool = True
    black_box: bool = False
    whole: bool = False
    bounded: bool = True

    @property
    def targeted(self) -> bool:
        """Whether it moves towards the target label sets that all attacks share."""
        return self.references in TARGETED

    @property
    def approaches(self) -> bool:
        """Whether its references are the codes that it moves towards."""
        return self.targeted or self.references == "hardest_anchor"


WORST_CASE = "worst_case"
"""In a list of attacks: the ensemble of ``cgat_jax.evaluation.worst_case``."""
BOUNDED_CODES = ("hag", "sdha", "saat", "saat_targeted", "apgd_ap")
"""Attacks whose objectives mean something for codes of about 1 alone."""
TARGETED = ("image", "anchor", "prototype", "target_mainstay", "generated")
_SIGNS = Budget(steps=100, step_size=1 / 255)
_LONG = Budget(steps=2000, step_size=1 / 255, random_start=False, alpha="annealed")


def _plain(
    make: Callable[[Budget], Attack],
) -> Callable[[Budget, AttackContext], Attack]:
    return lambda budget, known: make(budget)


def _with_bank(
    make: Callable[[Budget, Bank], Attack],
) -> Callable[[Budget, AttackContext], Attack]:
    return lambda budget, known: make(budget, known.bank)


def _saat(budget: Budget) -> Attack:
    return descent_attack(budget, objectives.masked_quadratic)


def _saat_targeted(budget: Budget) -> Attack:
    return descent_attack(budget, objectives.masked_quadratic_targeted)


def _prosgan(
    budget: Budget, known: AttackContext, *, projected: bool = False
) -> Attack:
    """One pass of the generator; the references are codes and features."""
    generator, bits = make_generator(width=known.width), known.bank.codes.shape[1]
    epsilon = budget.epsilon if projected else None

    def attack(encode, images, references, keys):
        features = references[:, bits:]
        return prosgan(generator, known.generator, images, features, epsilon)

    return attack


_AWAY, _TOWARDS = _plain(away_from_references), _plain(towards_references)
_ANNEALED = dataclasses.replace(_SIGNS, alpha="annealed")
_ONCE = Budget(steps=1, random_start=False)
_UNIT = dataclasses.replace(_SIGNS, surrogate="unit")
ATTACKS = {
    "noise": AttackEntry(_plain(random_noise), "none", _SIGNS),
    "p2p": AttackEntry(_TOWARDS, "image", _LONG),
    "dhta": AttackEntry(_TOWARDS, "anchor", _LONG),
    "tha": AttackEntry(
        _TOWARDS, "prototype", dataclasses.replace(_SIGNS, random_start=False)
    ),
    "prosgan": AttackEntry(_prosgan, "generated", _ONCE, bounded=False),
    "prosgan_projected": AttackEntry(
        functools.partial(_prosgan, projected=True), "generated", _ONCE
    ),
    "hag": AttackEntry(
        _plain(hag), "none", dataclasses.replace(_LONG, step_size=100 / 32), False
    ),
    # After 100 iterations it is up to 8 points of MAP from its end, the sign attacks
    # and HAG about 1 (benchmarks/attack_steps.py).
    "sdha": AttackEntry(
        _with_bank(sdha),
        "labels",
        dataclasses.replace(_LONG, steps=1500, step_size=0.01),
        signs=False,
        whole=True,
    ),
    "saat": AttackEntry(_plain(_saat), "mainstay", _ANNEALED),
    "saat_targeted": AttackEntry(_plain(_saat_targeted), "target_mainstay", _ANNEALED),
    "cgat": AttackEntry(_AWAY, "center", _SIGNS),
    "nag": AttackEntry(_plain(nag), "anchor", _SIGNS),
    "apgd": AttackEntry(_plain(apgd), "center", _UNIT, False),
    "apgd_ap": AttackEntry(_with_bank(apgd_average_precision), "labels", _UNIT, False),
    "apgd_anchor": AttackEntry(_plain(apgd_towards), "hardest_anchor", _UNIT, False),
    "apgd_opposite": AttackEntry(_plain(apgd), "own", _UNIT, False),
    "square": AttackEntry(
        _plain(square),
        "center",
        dataclasses.replace(_SIGNS, steps=5000),
        signs=False,
        black_box=True,
        whole=True,
    ),
}


def resolve_budget(
    name: str,
    *,
    epsilon: float = 8 / 255,
    preset: str = "paper",
    steps: int = 0,
    step_size: float = 0.0,
    surrogate: str = "",
) -> Budget:
    """The paper's budget of an attack, changed where something is given.

    >>> from cgat_jax.attacks import resolve_budget
    >>> resolve_budget("dhta").steps, resolve_budget("dhta", preset="fast").steps
    (2000, 100)

    Args:
        name: a key of ``ATTACKS``.
        epsilon: radius of the ball, of images in [0, 1].
        preset: ``paper`` or ``fast``, which bounds iterations that are left open.
        steps: iterations; 0 leaves the attack's own.
        step_size: of attacks by signs, of [0, 1]; 0 leaves the attack's own.
        surrogate: what is moved; empty leaves the attack's own.

    Raises:
        InputError: the attack or the preset is unknown; lists the known ones.
    """
    entry, most = lookup("attack", name, ATTACKS), lookup("preset", preset, PRESETS)
    most = entry.budget.steps if entry.whole else most
    own = entry.budget.step_size
    return dataclasses.replace(
        entry.budget,
        epsilon=epsilon,
        steps=steps or min(entry.budget.steps, most),
        step_size=(step_size or own) if entry.signs else own,
        surrogate=surrogate or entry.budget.surrogate,
    )


def parse_attacks(names: str) -> list[str]:
    """The attacks of a comma separated list, in order, without repetition.

    ``WORST_CASE`` may be among them and comes last, after all that it is compared with.

    >>> from cgat_jax.attacks import parse_attacks
    >>> parse_attacks("worst_case, noise, cgat, noise")
    ['noise', 'cgat', 'worst_case']

    Raises:
        InputError: names are unknown; the message lists the known ones.
    """
    attacks = list(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    known = dict.fromkeys([*ATTACKS, WORST_CASE])
    check_all(functools.partial(lookup, "attack", name, known) for name in attacks)
    return sorted(attacks, key=lambda name: name == WORST_CASE)
