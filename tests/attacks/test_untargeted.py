"""HAG and SDHA whole: three iterations on a linear network, again in NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks import ATTACKS, AttackContext, Budget
from cgat_jax.types import Bank
from tests.reference import attacks as reference

SIZE, BITS, STEPS = (4, 4, 3), 6, 3


class Problem:
    """A linear network, four images, and a bank; the last image has no label."""

    def __init__(self):
        rng = np.random.default_rng(8)
        self.weights = rng.normal(size=(BITS, 48)) / 2
        self.images = rng.uniform(0.02, 0.98, (4, 48))
        self.bank = rng.choice([-1.0, 1.0], (9, BITS))
        self.bank_labels = np.eye(3)[rng.integers(0, 3, 9)]
        self.labels = np.vstack([np.eye(3), np.zeros(3)])

    def logits(self, images):
        return (images - 0.5) @ self.weights.T

    def run(self, name, budget):
        """What the attack gives, flat."""
        context = AttackContext(Bank(jnp.array(self.bank), jnp.array(self.bank_labels)))
        images = jnp.array(self.images.reshape(4, *SIZE))
        keys = jax.random.split(jax.random.key(0), 4)

        def encode(x, iteration):
            return (x.reshape(len(x), -1) - 0.5) @ jnp.array(self.weights).T

        rows = self.labels if name == "sdha" else np.zeros((4, BITS))
        moved = ATTACKS[name].make(budget, context)
        return np.array(moved(encode, images, jnp.array(rows), keys)).reshape(4, -1)


def _slope(function, code, step=1e-6):
    """Central differences in a code's bits; masks and weights are constant there."""
    found = np.zeros(len(code))
    for bit in range(len(code)):
        high, low = code.copy(), code.copy()
        high[bit], low[bit] = code[bit] + step, code[bit] - step
        found[bit] = (function(high) - function(low)) / (2 * step)
    return found


def _gradient(problem, x, alpha, function):
    """Of a function of the codes tanh(alpha W x), in the pixels of one image."""
    code = np.tanh(alpha * problem.logits(x))
    return (alpha * (1 - code**2) * _slope(function, code)) @ problem.weights, code


def _alpha(budget, iteration):
    return 1.0 if budget.alpha == "one" else reference.annealed(iteration, STEPS)


def _project(x, origin, budget):
    near = np.clip(x, origin - budget.epsilon, origin + budget.epsilon)
    return np.clip(near, 0, 1)


def _hag(problem, budget):
    """SGD with momentum 0.9, whose buffer survives the projection."""
    found, lost = [], 0
    for origin in problem.images:
        x, buffer, own = origin, np.zeros(48), np.tanh(problem.logits(origin))
        for iteration in range(STEPS):
            slope, code = _gradient(
                problem,
                x,
                _alpha(budget, iteration),
                lambda code, own=own: reference.hag(code, own),
            )
            lost += int((np.abs(code - np.sign(own)) > 1.5).sum())
            buffer = 0.9 * buffer + slope
            x = _project(x - budget.step_size * buffer, origin, budget)
        found.append(x)
    return np.array(found), lost


def _sdha(problem, budget):
    """Adam on mean((x' - x)^2) + 25 / K times the loop over the relevant codes."""
    found = []
    for origin, label in zip(problem.images, problem.labels, strict=True):
        x, first, second = origin, np.zeros(48), np.zeros(48)
        own = np.tanh(problem.logits(origin))

        def away(code, own=own, label=label):
            arguments = own, label, problem.bank, problem.bank_labels
            return 25 / BITS * reference.sdha(code, *arguments)

        for iteration in range(STEPS):
            slope, _ = _gradient(problem, x, _alpha(budget, iteration), away)
            slope = slope + 2 * (x - origin) / 48
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * slope**2
            mean, square = (
                moment / (1 - rate ** (iteration + 1))
                for moment, rate in ((first, 0.9), (second, 0.999))
            )
            step = budget.step_size * mean / (np.sqrt(square) + 1e-8)
            x = _project(x - step, origin, budget)
        found.append(x)
    return np.array(found)


def _budget(**settings):
    return Budget(steps=STEPS, random_start=False, **settings)


@pytest.mark.parametrize("alpha", ["one", "annealed"])
def test_hag_is_descent_with_momentum_on_the_bits_that_are_not_lost(x64, alpha):
    """In a ball so wide that bits are lost on the way, and pixels meet its ends."""
    problem = Problem()
    budget = _budget(epsilon=0.25, step_size=1.5, alpha=alpha)
    expected, lost = _hag(problem, budget)
    change = np.abs(expected - problem.images)
    assert 0.02 < (change > 0.2499).mean() < 0.9  # the projection is met, and missed
    assert (lost > 0) == (alpha == "one")
    np.testing.assert_allclose(problem.run("hag", budget), expected, atol=1e-7)


@pytest.mark.parametrize("alpha", ["one", "annealed"])
@pytest.mark.parametrize("epsilon", [0.025, 1.0])
def test_sdha_is_adam_on_the_change_and_the_relevant_codes(x64, alpha, epsilon):
    problem = Problem()
    budget = _budget(epsilon=epsilon, step_size=0.01, alpha=alpha)
    found = problem.run("sdha", budget)
    np.testing.assert_allclose(found, _sdha(problem, budget), atol=1e-9)
    assert (np.abs(found - problem.images) > 0.0249).any()
