"""APGD: sign descent with momentum whose step halves where progress stops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from cgat_jax.attacks import objectives
from cgat_jax.attacks.pgd import Budget, Objective, ball, descent_attack
from cgat_jax.types import Attack, Bank, Images

MOMENTUM, PROGRESS = 0.75, 0.75
_FIRST, _SHRINK, _LEAST = 0.22, 0.03, 0.06

PerImage = Float[Array, " B"]


def halving_points(steps: int) -> list[int]:
    """Iterations at which the step may halve: ceil(p_j * steps), each once.

    p_1 = 0.22 and p_{j+1} - p_j = max(p_j - p_{j-1} - 0.03, 0.06).
    """
    at, gap, found = _FIRST, _FIRST, []
    while at < 1:
        found.append(int(np.ceil(round(at * steps, 9))))
        gap = max(gap - _SHRINK, _LEAST)
        at += gap
    return sorted(set(found) - {0})


class _Search(NamedTuple):
    x: Images
    before: Images
    best: Images
    gradient: Images
    value: PerImage
    best_value: PerImage
    step: PerImage
    num_decreases: PerImage  # iterations since then that lowered the objective
    checked_value: PerImage  # best value at the last checkpoint
    halved: Bool[Array, " B"]  # whether the step halved there
    lost: Bool[Array, " B"]  # whether a gradient was NaN, which has no sign


def adaptive_descent(
    objective: Objective, images: Images, start: Images, budget: Budget
) -> Images:
    """Lowers each image's objective, and gives its best point; in the ball.

    The step starts at 2 epsilon. At a checkpoint it halves, and the search goes back to
    the best point, where the objective fell in less than 75 % of the iterations since
    the last one, or where neither step nor best value changed. ``budget.step_size`` is
    not used. An image on whose way a gradient was NaN becomes NaN: the search would go
    nowhere from there, and give its start without a word.

    References:
        Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble
        of Diverse Parameter-free Attacks, ICML 2020, Algorithm 1.
    """
    box, marks = ball(images, budget.epsilon), halving_points(budget.steps)
    spans = np.zeros(budget.steps + 1)
    spans[marks] = np.diff([0, *marks])

    def evaluate(x, iteration):
        def total(x):
            values = objective(x, iteration)
            return values.sum(), values

        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(x)
        return values, gradient

    def descend(iteration, search):
        point = _next_point(search, iteration, *box)
        search = _recorded(search, point, *evaluate(point, iteration + 1))
        span = jnp.array(spans, images.dtype)[iteration + 1]

        def check(search):
            halve = _no_progress(search, span)
            x = _where(halve, search.best, search.x)
            return _halved(search, halve, x, evaluate(x, budget.steps)[1])

        return jax.lax.cond(span > 0, check, lambda search: search, search)

    value, gradient = evaluate(start, 0)
    step = jnp.full(len(images), 2 * budget.epsilon, images.dtype)
    none = jnp.zeros_like(value), value, jnp.zeros(len(images), bool)
    lost = _has_nan(gradient)
    search = _Search(start, start, start, gradient, value, value, step, *none, lost)
    search = jax.lax.fori_loop(0, budget.steps, descend, search)
    best = _where(search.lost, jnp.full_like(images, jnp.nan), search.best)
    return jax.lax.stop_gradient(best)


def _next_point(search: _Search, iteration, lower: Images, upper: Images) -> Images:
    """A step of signs, and a quarter of the step before, but for the first one."""
    wide = search.step.reshape(-1, 1, 1, 1)
    plain = jnp.clip(search.x - wide * jnp.sign(search.gradient), lower, upper)
    share = jnp.where(iteration == 0, 1.0, MOMENTUM)
    point = search.x + share * (plain - search.x)
    return jnp.clip(point + (1 - share) * (search.x - search.before), lower, upper)


def _recorded(search: _Search, point: Images, value: PerImage, gradient: Images):
    better = value < search.best_value
    return search._replace(
        x=point,
        before=search.x,
        best=_where(better, point, search.best),
        gradient=gradient,
        value=value,
        best_value=jnp.where(better, value, search.best_value),
        num_decreases=search.num_decreases
        + (value < search.value).astype(search.num_decreases.dtype),
        lost=search.lost | _has_nan(gradient),
    )


def _has_nan(gradient: Images) -> Bool[Array, " B"]:
    return jnp.isnan(gradient).any(axis=(1, 2, 3))


def _no_progress(search: _Search, span) -> Bool[Array, " B"]:
    stuck = ~search.halved & (search.checked_value == search.best_value)
    return (search.num_decreases < PROGRESS * span) | stuck


def _halved(search: _Search, halve, x: Images, gradient: Images) -> _Search:
    """After a checkpoint: ``halve`` tells which images go on at ``x``, slower."""
    return search._replace(
        x=x,
        gradient=_where(halve, gradient, search.gradient),
        value=jnp.where(halve, search.best_value, search.value),
        step=jnp.where(halve, search.step / 2, search.step),
        num_decreases=jnp.zeros_like(search.num_decreases),
        checked_value=search.best_value,
        halved=halve,
    )


def _where(chosen: Bool[Array, " B"], images: Images, others: Images) -> Images:
    return jnp.where(chosen.reshape(-1, 1, 1, 1), images, others)


def apgd(budget: Budget) -> Attack:
    """Untargeted APGD: lowers the agreement with the references.

    References are center codes or the own codes. Without a step size, and with a
    relaxation that does not saturate, it has nothing to tune but the iterations.
    """
    return descent_attack(budget, objectives.agreement, adaptive_descent)


def apgd_towards(budget: Budget) -> Attack:
    """Targeted APGD: raises the agreement with the references."""
    return descent_attack(budget, objectives.disagreement, adaptive_descent)


def apgd_average_precision(budget: Budget, bank: Bank) -> Attack:
    """APGD on the relaxed average precision; the references are the true labels.

    Args:
        budget: how far and how hard.
        bank: binary codes and labels of the training images, searched in place of the
            database.
    """

    def objective(codes, labels):
        return objectives.relaxed_average_precision(codes, labels, bank)

    return descent_attack(budget, objective, adaptive_descent)
