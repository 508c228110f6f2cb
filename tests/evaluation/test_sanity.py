"""Each check passes for an honest network and catches one broken on purpose."""

import numpy as np
import pytest

from cgat_jax.attacks import Budget
from cgat_jax.claims.form import blind
from cgat_jax.evaluation.attack_runner import AttackResult
from cgat_jax.evaluation.sanity import CHECKS, examine
from cgat_jax.evaluation.sanity_measures import MAIN, budget_curve
from cgat_jax.evaluation.workload import sanity_passes
from cgat_jax.retrieval import average_precision_at
from tests import tiny_config

COUNT, BITS, PIXELS = 24, 16, 48
EPSILON = 8 / 255


class Honest:
    """A linear network whose sign attack is exact, all in NumPy.

    Two classes of images lie on two sides of every bit. What a broken one overrides is
    what a real one could get wrong.
    """

    epsilon, chance, budget, restarts = EPSILON, 0.5, Budget(steps=100), 1

    def __init__(self):
        rng = np.random.default_rng(0)
        self.weights = rng.normal(size=(PIXELS, BITS))
        self.labels = np.eye(2, dtype=np.uint8)[np.arange(COUNT) % 2]
        self.code = rng.choice([-1.0, 1.0], BITS)
        self.centers = np.where(self.labels[:, :1] == 1, self.code, -self.code)
        pull = np.linalg.pinv(self.weights.T) @ self.centers.T
        noise = rng.uniform(-0.3, 0.3, (COUNT, PIXELS))
        images = 0.5 + 0.02 * pull.T / np.abs(pull).mean() + 0.02 * noise
        self.images = np.clip(images, 0, 1).reshape(COUNT, 4, 4, 3)
        self.codes = self.signs(self.images)

    def logits(self, images):
        return (images.reshape(len(images), -1) - 0.5) @ self.weights

    def outputs(self, count):
        return [self.logits(self.images) for _ in range(count)]

    def signs(self, images):
        return np.sign(self.logits(images)).astype(np.int8)

    def average_precision(self, codes):
        database = np.repeat([self.code, -self.code], 20, axis=0).astype(np.int8)
        spread = np.random.default_rng(1).random(database.shape) < 0.1
        labels = np.repeat(np.eye(2, dtype=np.uint8), 20, axis=0)
        database = database * (1 - 2 * spread.astype(np.int8))
        return average_precision_at(codes, self.labels, database, labels)

    def attack(self, name, **changes):
        moved = self.move(name, **{"epsilon": self.epsilon} | changes)
        return self.left(moved)

    def left(self, moved):
        change = (moved - self.images).reshape(COUNT, -1)
        linf, mse = np.abs(change).max(axis=1), (change**2).mean(axis=1)
        return AttackResult(self.signs(moved), moved, linf, mse, {})

    def move(self, name, epsilon, steps=100, restart=0, size=0, relaxation="tanh"):
        rng = np.random.default_rng([3, restart])
        slope = np.sign(self.weights @ self.centers.T).T.reshape(self.images.shape)
        if name == "noise":
            change = rng.uniform(-1, 1, self.images.shape) * epsilon
        else:
            change = -slope * min(epsilon, steps / 255)
        if name == "square":
            change = 0.5 * change
        return np.clip(self.images + change, 0, 1)

    def agreement(self, images):
        return (np.tanh(self.logits(images)) * self.centers).mean(axis=1)

    def zero_gradients(self, relaxation):
        logits = self.logits(self.images).astype(np.float32)
        slope = (
            1 - np.tanh(logits) ** 2 if relaxation == "tanh" else np.ones_like(logits)
        )
        return float((slope * self.centers @ self.weights.T == 0).mean())

    def transferred(self, name, **changes):
        halfway = self.images + 0.5 * (self.move(name, self.epsilon) - self.images)
        return self.signs(halfway)


class ZeroBudgetMoves(Honest):
    """The attack adds a constant whatever the budget."""

    def move(self, name, epsilon, **changes):
        return np.clip(super().move(name, max(epsilon, 0.05), **changes), 0, 1)


class LargeBudgetsFail(Honest):
    """The step grows with the budget and overshoots."""

    def move(self, name, epsilon, **changes):
        epsilon = epsilon if epsilon < 10 / 255 or epsilon == 1 else 0.0
        return super().move(name, epsilon, **changes)


class Bounded(Honest):
    """Something keeps the images near where they are, whatever the budget."""

    def move(self, name, epsilon, **changes):
        return super().move(name, min(epsilon, 1 / 255), **changes)


class NeedsMoreSteps(Honest):
    """The attack stops long before its goal."""

    def move(self, name, epsilon, steps=100, **changes):
        return super().move(name, epsilon * min(steps / 200, 1), steps=steps, **changes)


class LuckyStarts(Honest):
    """Which queries fall depends on the start."""

    def move(self, name, epsilon, restart=0, **changes):
        moved = super().move(name, epsilon, restart=restart, **changes)
        kept = np.arange(COUNT) % 6 != restart
        return np.where(kept[:, None, None, None], self.images, moved)


class TransferWins(Honest):
    """Images of another network fool it more than its own gradients: masking."""

    def transferred(self, name, **changes):
        return self.signs(super().move(name, 4 * self.epsilon))


class SquareWins(Honest):
    """A search without gradients beats the gradients: masking."""

    def move(self, name, epsilon, **changes):
        scale = 4 if name == "square" else 0.2
        return super().move(name, scale * epsilon, **changes)


class SaturatedTanh(Honest):
    """Logits so large that tanh is flat in floating point."""

    def logits(self, images):
        return 1e4 * super().logits(images)


class FlatEverywhere(Honest):
    """Rounded inputs: no gradient reaches the image, through whatever relaxation."""

    def zero_gradients(self, relaxation):
        return 1.0


class LogitsHelp(Honest):
    """The attack on tanh hardly moves, that on logits does."""

    def move(self, name, epsilon, relaxation="tanh", **changes):
        epsilon = epsilon if relaxation == "unit" else 0.1 * epsilon
        return super().move(name, epsilon, **changes)


class DropoutLeftOn(Honest):
    """A network that still trains answers differently each time."""

    def __init__(self):
        self.calls = 0
        super().__init__()

    def logits(self, images):
        self.calls += 1
        kept = np.random.default_rng(self.calls).random(PIXELS) < 0.5
        return super().logits(images * kept.reshape(images.shape[1:]))


class IgnoresTheBudget(Honest):
    """The attack does not project into the ball."""

    def move(self, name, epsilon, **changes):
        return super().move(name, 1.3 * epsilon, **changes)


class IgnoresThePixelRange(Honest):
    """Normalization outside the network: pixels leave [0, 1]."""

    def __init__(self):
        super().__init__()
        self.images = np.where(self.images < 0.45, 0.0, self.images)

    def left(self, moved):
        return super().left(np.where(self.images == 0, -0.01, moved))


class BatchDependent(Honest):
    """A step that is divided by the size of the batch."""

    def move(self, name, epsilon, size=0, **changes):
        return super().move(name, epsilon * (0.3 if size else 1), **changes)


class Ascends(Honest):
    """Every second part of the iterations goes the wrong way."""

    def move(self, name, epsilon, steps=100, **changes):
        wrong = name == MAIN and steps in (12, 50)
        return super().move(name, 0 if wrong else epsilon, steps=steps, **changes)


class NoBetterThanNoise(Honest):
    """The sign of the gradient is lost."""

    def move(self, name, epsilon, **changes):
        epsilon = 0.1 * epsilon if name != "noise" else 8 * epsilon
        return super().move(name, epsilon, **changes)


BROKEN = [
    ("zero budget", ZeroBudgetMoves),
    ("larger budget", LargeBudgetsFail),
    ("unbounded", Bounded),
    ("more iterations", NeedsMoreSteps),
    ("restarts", LuckyStarts),
    ("order", TransferWins),
    ("black box", SquareWins),
    ("zero gradients", SaturatedTanh),
    ("zero gradients", FlatEverywhere),
    ("saturation", LogitsHelp),
    ("deterministic", DropoutLeftOn),
    ("ball", IgnoresTheBudget),
    ("ball", IgnoresThePixelRange),
    ("batch", BatchDependent),
    ("descent", Ascends),
    ("noise", NoBetterThanNoise),
]


def _result(subject, name):
    measure, threshold, _ = CHECKS[name]
    value = measure(subject, budget_curve(subject))
    return value <= threshold, value


@pytest.mark.parametrize("name", CHECKS)
def test_an_honest_network_passes(name):
    passed, value = _result(Honest(), name)
    assert passed, value


@pytest.mark.parametrize(("name", "broken"), BROKEN)
def test_what_is_broken_is_caught(name, broken):
    passed, value = _result(broken(), name)
    assert not passed, value


def test_every_check_is_broken_on_purpose_somewhere():
    assert {name for name, _ in BROKEN} == set(CHECKS)
    assert len(CHECKS) == 14


def test_the_attack_that_is_doubted_is_the_one_of_the_settings():
    """A hundred steps are too few there, and four hundred are not."""

    class Slow(NeedsMoreSteps):
        budget = Budget(steps=400)

    assert not _result(NeedsMoreSteps(), "more iterations")[0]
    assert _result(Slow(), "more iterations")[0]


def test_more_starts_are_compared_with_those_of_the_settings():
    class Restarted(LuckyStarts):
        restarts = 6

    assert _result(Restarted(), "restarts") == (True, 0.0)


def test_zero_gradients_are_those_of_the_surrogate():
    class OnLogits(SaturatedTanh):
        budget = Budget(steps=100, relaxation="logits")

    assert _result(OnLogits(), "zero gradients")[0]


def test_a_flat_network_is_blind_and_a_saturated_one_is_not():
    """Logits of unit length have a gradient where tanh has none."""
    (_, flat), (_, saturated) = (
        _result(subject(), "zero gradients")
        for subject in (FlatEverywhere, SaturatedTanh)
    )
    assert blind({"zero gradients": flat})
    assert not blind({"zero gradients": saturated})
    assert saturated > 0.25


def test_the_attack_on_unit_logits_is_not_compared_with_itself():
    class OnUnit(LogitsHelp):
        budget = Budget(steps=100, relaxation="unit")

    measure, _, _ = CHECKS["saturation"]
    assert measure(OnUnit(), budget_curve(OnUnit())) is None


def test_a_network_alone_has_no_order():
    class Alone(Honest):
        def transferred(self, name, **changes):
            return None

    checks, curve = examine(Alone())
    made = {check.name: check.passed for check in checks}
    assert made.pop("order") is None
    assert all(made.values())
    assert curve.map == sorted(curve.map, reverse=True)
    assert curve.bits_flipped == sorted(curve.bits_flipped)


@pytest.mark.parametrize(("steps", "restarts"), [(100, 1), (20, 3)])
def test_the_cost_of_all_attacks_is_what_is_said(steps, restarts):
    """Two forward passes an iteration, one a query of Square; none for noise."""
    made, config = set(), tiny_config.get_config()
    config.evaluate.steps, config.evaluate.restarts = steps, restarts

    class Counted(Honest):
        budget = Budget(steps=steps)

        def __init__(self):
            super().__init__()
            self.restarts = restarts

        def attack(self, name, **changes):
            made.add((name, *sorted(changes.items())))
            return super().attack(name, **changes)

        def transferred(self, name, **changes):
            made.add(("transferred", *sorted(changes.items())))
            return super().transferred(name, **changes)

    named = []
    examine(Counted(), named.append)
    passes = [
        dict(changes)["steps"] * (1 if name == "square" else 2)
        for name, *changes in made
        if name != "noise"
    ]
    assert sum(passes) == sanity_passes(config)
    assert named == ["budgets", *CHECKS]
