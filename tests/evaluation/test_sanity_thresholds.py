"""Each sanity check's threshold: what it is, and values on both sides of it."""

import functools
import re

import numpy as np
import pytest

from cgat_jax.claims.form import blind
from cgat_jax.evaluation import sanity
from cgat_jax.evaluation.attack_runner import AttackResult
from cgat_jax.evaluation.sanity import CHECKS, Check, examine
from cgat_jax.evaluation.sanity_measures import (
    BUDGETS,
    CURVE,
    MAIN,
    STRONG,
    Curve,
    budget_curve,
)
from tests.evaluation.test_sanity import COUNT, Honest
from tests.programs import ROOT

THRESHOLDS = {
    "zero budget": 0.0,
    "larger budget": 0.003,
    "unbounded": 2 / 3,
    "more iterations": 0.005,
    "restarts": 0.005,
    "order": 0.003,
    "black box": 0.002,
    "zero gradients": 0.01,
    "saturation": 0.02,
    "deterministic": 0.0,
    "ball": 1e-6,
    "batch": 0.005,
    "descent": 0.05,
    "noise": -1e-9,
}


def test_the_thresholds_are_these_and_those_of_the_documents():
    """With others, claims and pages of before would say something else."""
    assert {name: entry[1] for name, entry in CHECKS.items()} == THRESHOLDS
    assert BUDGETS == (1, 2, 4, 8, 16) and CURVE == (0, 0.06, 0.12, 0.25, 0.5, 1)
    page = (ROOT / "docs" / "sanity.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| ([0-9.]+) \|", page, flags=re.MULTILINE)
    assert {name: float(most) for name, most in rows}.items() <= THRESHOLDS.items()
    assert len(rows) == 3


@pytest.mark.parametrize("name", CHECKS)
def test_a_value_at_its_threshold_passes_and_the_next_number_fails(name, monkeypatch):
    _, threshold, meaning = CHECKS[name]
    monkeypatch.setattr(sanity, "budget_curve", lambda network: Curve([], [], []))
    for value, passed in ((threshold, True), (np.nextafter(threshold, 1), False)):
        entry = (lambda network, curve, value=value: value), threshold, meaning
        monkeypatch.setattr(sanity, "CHECKS", {name: entry})
        (check,), _ = examine(Honest())
        assert check == Check(name, passed, value, threshold, meaning)


class ScriptedMaps(Honest):
    """``found(name, changes)`` gives the MAP of an attack, of a transfer as well."""

    def __init__(self, found):
        super().__init__()
        self.found, self.codes = found, np.zeros(COUNT)

    def attack(self, name, **changes):
        """The codes are the average precisions themselves."""
        precision = np.full(COUNT, self.found(name, changes))
        return AttackResult(precision, self.images, *np.zeros((2, COUNT)), {})

    def average_precision(self, codes):
        return codes

    def transferred(self, name, **changes):
        return self.attack("transfer", **changes).codes


class ScriptedBits(Honest):
    """``flips(name, changes)`` gives the number of bits that an attack flips."""

    def __init__(self, flips):
        super().__init__()
        self.flips = flips

    def attack(self, name, **changes):
        codes = self.codes.copy()
        codes.reshape(-1)[: self.flips(name, changes)] *= -1
        return AttackResult(codes, self.images, *np.zeros((2, COUNT)), {})


class OneOutputDiffers(Honest):
    def __init__(self, differing):
        super().__init__()
        self.differing = differing

    def outputs(self, count):
        found = [output.copy() for output in super().outputs(count)]
        found[-1].reshape(-1)[: self.differing] += 1e-6
        return found


class Outside(Honest):
    """One attack leaves the ball, or images of zeros leave the pixel range."""

    def __init__(self, excess, attack=MAIN, zeros=False):
        super().__init__()
        self.images = 0 * self.images if zeros else self.images
        self.excess, self.attacked, self.zeros = excess, attack, zeros

    def move(self, name, **changes):
        within = 0.0 if self.zeros else self.epsilon
        excess = self.excess if name == self.attacked else 0.0
        return self.images + (-excess if self.zeros else within + excess)


class Rising(Honest):
    """The objective rises in so many of the pairs of a query and an interval."""

    def __init__(self, rises, height=0.011):
        super().__init__()
        change = np.where(np.arange(COUNT * 5) < rises, height, -0.1)
        steps = change.reshape(5, COUNT).cumsum(axis=0)
        self.values = iter([np.zeros(COUNT), *steps])

    def agreement(self, images):
        return next(self.values)


class Zeros(Honest):
    """Shares of zeros in the gradient through logits and through their tanh."""

    def __init__(self, relaxed, flat):
        super().__init__()
        self.shares = {"tanh": relaxed, "logits": flat}

    def zero_gradients(self, relaxation):
        return self.shares[relaxation]


def _maps(found):
    """Of a value that the check is to measure: ``found(value, name, changes)``."""
    return lambda value: ScriptedMaps(functools.partial(found, value))


def _flips(attack, value):
    """One attack flips so many bits."""
    return ScriptedBits(lambda name, changes: value * (name == attack))


def _unbounded(value, name, changes):
    """In parts of chance, which is a half."""
    return value / 2 if (name, changes.get("epsilon")) == (STRONG, 1) else 0.9


def _order(value, name, changes, *, lowest):
    """White-box below transfer below noise, but for one of them."""
    known = {MAIN: 0.4, "transfer": 0.45, "noise": 0.5}
    above = {"transfer": known[MAIN], "noise": known["transfer"]}
    return above[lowest] - value if name == lowest else known[name]


THREE = (MAIN, STRONG, "square")
MAPS = [  # the measured value is the threshold, or a ten millionth beside it
    ("larger budget", lambda v, n, c: 0.4 + v * (c.get("epsilon") == 2 / 255)),
    ("larger budget", lambda v, n, c: 0.4 + v * (c.get("epsilon") == 16 / 255)),
    ("unbounded", _unbounded),
    ("more iterations", lambda v, n, c: 0.4 + v * (c["steps"] == 200)),
    ("more iterations", lambda v, n, c: 0.4 - v * (c["steps"] == 200)),
    ("restarts", lambda v, n, c: 0.4 - v * (c.get("restart") == 5)),
    ("order", functools.partial(_order, lowest="transfer")),
    ("order", functools.partial(_order, lowest="noise")),
    ("black box", lambda v, n, c: 0.4 - v * ((n, c["steps"]) == ("square", 500))),
    ("saturation", lambda v, n, c: 0.4 - v * (c.get("relaxation") == "unit")),
]
BITS_AND_PIXELS = [  # the last value that passes, and the first that does not
    *(("zero budget", functools.partial(_flips, name), 0, 1) for name in THREE),
    # 384 bits, of which 0.5 % are 1.92.
    ("batch", lambda v: ScriptedBits(lambda n, c: v * ("size" in c)), 1, 2),
    ("noise", lambda v: ScriptedBits(lambda n, c: v if n == "noise" else 5), 4, 5),
    ("deterministic", OneOutputDiffers, 0, 1),
    *(
        ("ball", functools.partial(Outside, attack=name), 0.9e-6, 1.1e-6)
        for name in THREE
    ),
    ("ball", functools.partial(Outside, zeros=True), 0.9e-6, 1.1e-6),
    # 24 queries and 5 intervals, of which 5 % are 6.
    ("descent", Rising, 6, 7),
    ("descent", lambda v: Rising(120, height=v), 0.0099, 0.0101),
    ("zero gradients", lambda v: Zeros(0.2 + v, 0.2), 0.0099, 0.0101),
    ("zero gradients", lambda v: Zeros(v, v), 0.5099, 0.5101),
]
EDGES = [
    (name, _maps(found), THRESHOLDS[name] - 1e-7, THRESHOLDS[name] + 1e-7)
    for name, found in MAPS
] + BITS_AND_PIXELS


def _measured(name, subject):
    return CHECKS[name][0](subject, budget_curve(subject))


@pytest.mark.parametrize(("name", "subject", "inside", "outside"), EDGES)
def test_just_inside_of_a_threshold_passes_and_just_outside_fails(
    name, subject, inside, outside
):
    below, above = (_measured(name, subject(value)) for value in (inside, outside))
    assert below <= CHECKS[name][1] < above


def test_every_threshold_is_met_from_both_sides():
    assert {name for name, *_ in EDGES} == set(CHECKS)


def test_a_gradient_counts_as_flat_above_three_quarters_of_zeros():
    below, above = (
        _measured("zero gradients", Zeros(flat, flat)) for flat in (0.75, 0.7501)
    )
    assert below == pytest.approx(0.25) and above == pytest.approx(1.2501)
    assert not blind({"zero gradients": below}) and blind({"zero gradients": above})
