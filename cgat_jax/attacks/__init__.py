"""Attacks. A new one is a factory of ``Attack`` and a line in ``ATTACKS``."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
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
from cgat_jax.attacks.references import (
    ANCHOR,
    CENTER,
    GENERATED,
    HARDEST_ANCHOR,
    IMAGE,
    LABELS,
    MAINSTAY,
    NOTHING,
    OWN,
    PROTOTYPE,
    TARGET_MAINSTAY,
    Reference,
)
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
    "ordered_attacks",
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

    ``make(budget, context)`` is a factory of ``Attack``; it is given a row of
    ``references`` an image, of one of the kinds in ``attacks.references``.

    An attack that is not ``bounded`` leaves the ball; ``signs`` tells whether
    ``step_size`` is a step by signs; the iterations of a ``black_box`` attack are its
    queries of the network. No preset cuts the iterations of one that needs its
    ``whole`` number.
    """

    make: Callable[[Budget, AttackContext], Attack]
    references: Reference
    budget: Budget
    signs: bool = True
    black_box: bool = False
    whole: bool = False
    bounded: bool = True

    @property
    def targeted(self) -> bool:
        """Whether it moves towards the target label sets that all attacks share."""
        return self.references.targeted


WORST_CASE = "worst_case"
"""In a list of attacks: the ensemble of ``cgat_jax.evaluation.worst_case``."""
BOUNDED_CODES = ("hag", "sdha", "saat", "saat_targeted", "apgd_ap")
"""Attacks whose objectives mean something for codes of about 1 alone."""
_SIGNS = Budget(steps=100, step_size=1 / 255)
_LONG = Budget(steps=2000, step_size=1 / 255, random_start=False, alpha="annealed")


def _plain(
    make: Callable[[Budget], Attack],
) -> Callable[[Budget, AttackContext], Attack]:
    return lambda budget, context: make(budget)


def _with_bank(
    make: Callable[[Budget, Bank], Attack],
) -> Callable[[Budget, AttackContext], Attack]:
    return lambda budget, context: make(budget, context.bank)


def _saat(budget: Budget) -> Attack:
    return descent_attack(budget, objectives.masked_quadratic)


def _saat_targeted(budget: Budget) -> Attack:
    return descent_attack(budget, objectives.masked_quadratic_targeted)


def _prosgan(
    budget: Budget, context: AttackContext, *, projected: bool = False
) -> Attack:
    """One pass of the generator; the references are codes and features."""
    generator, bits = make_generator(width=context.width), context.bank.codes.shape[1]
    epsilon = budget.epsilon if projected else None

    def attack(encode, images, references, keys):
        features = references[:, bits:]
        return prosgan(generator, context.generator, images, features, epsilon)

    return attack


_AWAY, _TOWARDS = _plain(away_from_references), _plain(towards_references)
_ANNEALED = dataclasses.replace(_SIGNS, alpha="annealed")
_ONCE = Budget(steps=1, random_start=False)
_UNIT = dataclasses.replace(_SIGNS, relaxation="unit")
ATTACKS = {
    "noise": AttackEntry(_plain(random_noise), NOTHING, _SIGNS),
    "p2p": AttackEntry(_TOWARDS, IMAGE, _LONG),
    "dhta": AttackEntry(_TOWARDS, ANCHOR, _LONG),
    "tha": AttackEntry(
        _TOWARDS, PROTOTYPE, dataclasses.replace(_SIGNS, random_start=False)
    ),
    "prosgan": AttackEntry(_prosgan, GENERATED, _ONCE, bounded=False),
    "prosgan_projected": AttackEntry(
        functools.partial(_prosgan, projected=True), GENERATED, _ONCE
    ),
    "hag": AttackEntry(
        _plain(hag), NOTHING, dataclasses.replace(_LONG, step_size=100 / 32), False
    ),
    # After 100 iterations it is up to 8 points of MAP from its end, the sign attacks
    # and HAG about 1 (benchmarks/attack_steps.py).
    "sdha": AttackEntry(
        _with_bank(sdha),
        LABELS,
        dataclasses.replace(_LONG, steps=1500, step_size=0.01),
        signs=False,
        whole=True,
    ),
    "saat": AttackEntry(_plain(_saat), MAINSTAY, _ANNEALED),
    "saat_targeted": AttackEntry(_plain(_saat_targeted), TARGET_MAINSTAY, _ANNEALED),
    "cgat": AttackEntry(_AWAY, CENTER, _SIGNS),
    "nag": AttackEntry(_plain(nag), ANCHOR, _SIGNS),
    "apgd": AttackEntry(_plain(apgd), CENTER, _UNIT, False),
    "apgd_ap": AttackEntry(_with_bank(apgd_average_precision), LABELS, _UNIT, False),
    "apgd_anchor": AttackEntry(_plain(apgd_towards), HARDEST_ANCHOR, _UNIT, False),
    "apgd_opposite": AttackEntry(_plain(apgd), OWN, _UNIT, False),
    "square": AttackEntry(
        _plain(square),
        CENTER,
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
    relaxation: str = "",
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
        relaxation: what is moved; empty leaves the attack's own.

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
        relaxation=relaxation or entry.budget.relaxation,
    )


def ordered_attacks(names: Iterable[str]) -> list[str]:
    """Names of attacks in the order in which they run, each once.

    ``WORST_CASE`` may be among them and comes last, after all that it is compared with.

    >>> from cgat_jax.attacks import ordered_attacks
    >>> ordered_attacks(["worst_case", "noise", "cgat", "noise"])
    ['noise', 'cgat', 'worst_case']

    Raises:
        InputError: names are unknown; the message lists the known ones.
    """
    attacks, known = dict.fromkeys(names), dict.fromkeys([*ATTACKS, WORST_CASE])
    check_all(functools.partial(lookup, "attack", name, known) for name in attacks)
    return sorted(attacks, key=lambda name: name == WORST_CASE)
