"""APGD against its own algorithm in NumPy, and what it promises over plain descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks.apgd import adaptive_descent, halving_points
from cgat_jax.attacks.pgd import Budget, ball, sign_descent

EPSILON = 0.1
CURVATURE = np.linspace(0.2, 3.0, 12).astype(np.float32)


def test_checkpoints_are_those_of_the_paper():
    """p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99."""
    assert halving_points(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_no_checkpoint_comes_twice_in_a_short_attack():
    assert halving_points(5) == [2, 3, 4, 5]
    assert halving_points(0) == []


def _objective(goal):
    """A bowl whose sides are steep in some pixels and flat in others."""

    def value(x, iteration):
        gap = (x - goal).reshape(len(x), -1)
        return (jnp.array(CURVATURE, x.dtype)[None] * gap**2).sum(axis=1)

    return value


def _numpy_apgd(start, origin, goal, steps):
    """Algorithm 1 for one image, in plain Python."""
    low, high = np.maximum(origin - EPSILON, 0), np.minimum(origin + EPSILON, 1)

    def value(x):
        return (CURVATURE * (x - goal) ** 2).sum()

    def stepped(x, step):
        return np.clip(x - step * np.sign(2 * CURVATURE * (x - goal)), low, high)

    step, marks = 2 * EPSILON, [0, *halving_points(steps)]
    x = before = best = start
    falls, halved, checked, best_value = 0, False, value(start), value(start)
    for k in range(steps):
        share = 1.0 if k == 0 else 0.75
        z = stepped(x, step)
        new = np.clip(x + share * (z - x) + (1 - share) * (x - before), low, high)
        falls += value(new) < value(x)
        x, before = new, x
        if value(x) < best_value:
            best, best_value = x, value(x)
        if k + 1 in marks:
            span = k + 1 - marks[marks.index(k + 1) - 1]
            stuck = not halved and checked == best_value
            halved = falls < 0.75 * span or stuck
            if halved:
                step, x = step / 2, best
            falls, checked = 0, best_value
    return best


def _problem(rng, count=3):
    origin = rng.uniform(0.2, 0.8, (count, 12)).astype(np.float64)
    goal = origin + rng.uniform(-0.15, 0.15, origin.shape)
    return origin, goal


@pytest.mark.parametrize("steps", [1, 5, 10, 50])
def test_it_follows_the_published_algorithm(rng, x64, steps):
    origin, goal = _problem(rng)
    start = np.clip(origin + rng.uniform(-EPSILON, EPSILON, origin.shape), 0, 1)
    images, first = (jnp.array(x.reshape(-1, 2, 2, 3)) for x in (origin, start))
    objective = _objective(jnp.array(goal.reshape(-1, 2, 2, 3)))
    budget = Budget(epsilon=EPSILON, steps=steps)
    got = adaptive_descent(objective, images, first, budget)
    expected = [
        _numpy_apgd(*row, steps) for row in zip(start, origin, goal, strict=True)
    ]
    np.testing.assert_allclose(got.reshape(3, 12), expected, atol=1e-9)


@pytest.mark.slow
def test_it_ends_nearer_to_the_optimum_than_steps_of_one_size(rng):
    origin, goal = _problem(rng)
    images, aim = (
        jnp.array(x.reshape(-1, 2, 2, 3), jnp.float32) for x in (origin, goal)
    )
    objective, lower_upper = _objective(aim), ball(images, EPSILON)
    best = objective(jnp.clip(aim, *lower_upper), 0)
    budget = Budget(epsilon=EPSILON, steps=60, step_size=EPSILON / 4)
    adaptive = objective(adaptive_descent(objective, images, images, budget), 0)
    plain = objective(sign_descent(objective, images, images, budget), 0)
    assert (adaptive - best < 0.1 * (plain - best)).all()


@pytest.mark.parametrize("edge", [0.6, 0.45])
def test_an_image_with_a_gradient_that_is_no_number_is_lost(edge):
    """One of two, whose values are finite; at the start or only on the way."""
    images = jnp.full((2, 2, 2, 3), 0.5)
    edges = jnp.array([edge, 0.0]).reshape(2, 1, 1, 1)  # below it, sqrt(0)

    def value(x, iteration):
        steep = jnp.sqrt(jnp.maximum(x[:, :1, :1, :1] - edges, 0))
        return (x + steep / 12).sum(axis=(1, 2, 3))

    found = adaptive_descent(value, images, images, Budget(epsilon=EPSILON, steps=5))
    assert jnp.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], 0.5 - EPSILON, atol=1e-6)


def test_the_best_point_is_never_worse_than_the_start(rng):
    """Even where the objective is noise."""
    images = jnp.array(rng.random((4, 2, 2, 3)), jnp.float32)

    def rough(x, iteration):
        return jnp.sin(300 * x).sum(axis=(1, 2, 3))

    budget = Budget(epsilon=EPSILON, steps=30)
    best = jax.jit(lambda x: adaptive_descent(rough, x, x, budget))(images)
    assert (rough(best, 0) <= rough(images, 0)).all()
