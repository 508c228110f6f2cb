"""APGD: sign descent with momentum whose step halves where progress stops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from cgat_jax.attacks.objectives import agreement
from cgat_jax.attacks.pgd import Budget, Objective, ball, relax, start_of
from cgat_jax.types import Attack, Images

MOMENTUM, PROGRESS = 0.75, 0.75
_FIRST, _SHRINK, _LEAST = 0.22, 0.03, 0.06

PerImage = Float[Array, " B"]


def checkpoints(steps: int) -> list[int]:
    """Iterations at which the step may halve: ceil(p_j * steps).

    p_1 = 0.22 and p_{j+1} - p_j = max(p_j - p_{j-1} - 0.03, 0.06).
    """
    at, gap, found = _FIRST, _FIRST, []
    while at < 1:
        found.append(int(np.ceil(round(at * steps, 9))))
        gap = max(gap - _SHRINK, _LEAST)
        at += gap
    return found


class _Search(NamedTuple):
    x: Images
    before: Images
    best: Images
    value: PerImage
    best_value: PerImage
    step: PerImage
    falls: PerImage  # iterations since the last checkpoint that lowered the objective
    checked_value: PerImage  # best value at the last checkpoint
    halved: Bool[Array, " B"]  # whether the step halved there


def adaptive_descent(
    objective: Objective, images: Images, start: Images, budget: Budget
) -> Images:
    """Lowers each image's objective, and gives its best point; in the ball.

    The step starts at 2 epsilon. At a checkpoint it halves, and the search goes back to
    the best point, where the objective fell in less than 75 % of the iterations since
    the last one, or where neither step nor best value changed. ``budget.step_size`` is
    not used.

    References:
        Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble
        of Diverse Parameter-free Attacks, ICML 2020, Algorithm 1.
    """
    lower, upper = ball(images, budget.epsilon)
    marks = checkpoints(budget.steps)
    gaps = np.diff([0, *marks])
    spans = jnp.zeros(budget.steps + 1).at[jnp.array(marks)].set(jnp.array(gaps))

    def evaluate(x, iteration):
        def total(x):
            values = objective(x, iteration)
            return values.sum(), values

        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(x)
        return values, gradient

    def descend(iteration, carry):
        search, gradient = carry
        wide = search.step.reshape(-1, 1, 1, 1)
        plain = jnp.clip(search.x - wide * jnp.sign(gradient), lower, upper)
        share = jnp.where(iteration == 0, 1.0, MOMENTUM)
        moved = search.x + share * (plain - search.x)
        moved += (1 - share) * (search.x - search.before)
        moved = jnp.clip(moved, lower, upper)
        value, gradient = evaluate(moved, iteration + 1)
        better = value < search.best_value
        search = search._replace(
            x=moved,
            before=search.x,
            best=_where(better, moved, search.best),
            value=value,
            best_value=jnp.where(better, value, search.best_value),
            falls=search.falls + (value < search.value),
        )
        span = spans[iteration + 1]
        return jax.lax.cond(
            span > 0,
            check,
            lambda search, _, gradient: (search, gradient),
            search,
            span,
            gradient,
        )

    def check(search, span, gradient):
        """Halves the steps of the images that stopped making progress."""
        slow = search.falls < PROGRESS * span
        stuck = ~search.halved & (search.checked_value == search.best_value)
        halve = slow | stuck
        x = _where(halve, search.best, search.x)
        _, at_best = evaluate(x, budget.steps)
        search = search._replace(
            x=x,
            value=jnp.where(halve, search.best_value, search.value),
            step=jnp.where(halve, search.step / 2, search.step),
            falls=jnp.zeros_like(search.falls),
            checked_value=search.best_value,
            halved=halve,
        )
        return search, _where(halve, at_best, gradient)

    value, gradient = evaluate(start, 0)
    step = jnp.full(len(images), 2 * budget.epsilon, images.dtype)
    none = jnp.zeros_like(value), value, jnp.zeros(len(images), bool)
    search = _Search(start, start, start, value, value, step, *none)
    search, _ = jax.lax.fori_loop(0, budget.steps, descend, (search, gradient))
    return jax.lax.stop_gradient(search.best)


def _where(chosen: Bool[Array, " B"], images: Images, others: Images) -> Images:
    return jnp.where(chosen.reshape(-1, 1, 1, 1), images, others)


def apgd(budget: Budget) -> Attack:
    """Untargeted APGD: lowers mean(z * reference) as ``adaptive_descent`` does.

    References are center codes. Without a step size and, on logits, without a gradient
    that saturates, it has nothing to tune but the number of iterations.
    """

    def attack(encode, images, references, keys):
        def of_images(x, iteration):
            codes = relax(encode(x, iteration), iteration, budget)
            return agreement(codes, references)

        start = start_of(images, keys, budget)
        return adaptive_descent(of_images, images, start, budget)

    return attack
