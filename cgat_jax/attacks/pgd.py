"""Projected gradient descent in an L-infinity ball, and the attacks built on it.

An attack is a *surrogate* (how logits become what the objective sees), an *objective*
(one number an image, made smaller) and a budget:

    attack = away_from_references(Budget(epsilon=8 / 255, steps=100, step_size=1 / 255))
    adversarial = attack(encode, images, references, keys)
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgat_jax.types import Attack, Images, Keys


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How far and how hard an attack goes, in units of images in [0, 1]."""

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 7
    random_start: bool = True


def ball(images: Images, epsilon: float) -> tuple[Images, Images]:
    """Lowest and highest allowed pixels: the L-infinity ball within [0, 1]."""
    return jnp.maximum(images - epsilon, 0.0), jnp.minimum(images + epsilon, 1.0)


def uniform_noise(images: Images, keys: Keys, epsilon: float) -> Images:
    """Images moved by uniform noise in [-epsilon, epsilon), clipped to [0, 1].

    Each image has its own key, so that its noise does not depend on its batch.
    """
    shape, dtype = images.shape[1:], images.dtype

    def draw(key):
        return jax.random.uniform(key, shape, dtype, -epsilon, epsilon)

    return jnp.clip(images + jax.vmap(draw)(keys), *ball(images, epsilon))


def sign_descent(
    objective: Callable[[Images, int], Float[Array, " B"]],
    images: Images,
    start: Images,
    budget: Budget,
) -> Images:
    """Lowers each image's ``objective(images, iteration)`` by steps of one sign each.

        x <- clip(x - step_size * sign(gradient of the objective at x), ball)

    A pixel whose gradient is exactly 0 stays. Result in the ball; no gradient flows.

    References:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks,
        ICLR 2018; CgAT, Eq. 8 and 9.
    """
    lower, upper = ball(images, budget.epsilon)
    gradient = jax.grad(lambda x, iteration: objective(x, iteration).sum())

    def descend(iteration, x):
        step = budget.step_size * jnp.sign(gradient(x, iteration))
        return jnp.clip(x - step, lower, upper)

    x = jax.lax.fori_loop(0, budget.steps, descend, start)
    return jax.lax.stop_gradient(x)


SURROGATES = {"tanh": jnp.tanh, "logits": lambda logits: logits}


def away_from_references(budget: Budget, *, surrogate: str = "tanh") -> Attack:
    """Untargeted: lowers mean_k(tanh(z_k) * reference_k) of each image.

    With center codes as references it is CgAT's own attack and its inner loop; a
    reference of zeros moves nothing but the random start. With minus a target code as
    reference it moves towards the target.

    Args:
        budget: of the sign descent.
        surrogate: ``logits`` lowers mean_k(z_k * reference_k) instead: a gradient that
            saturated codes do not stop.

    References:
        CgAT, WWW 2023, Eq. 8 and 9.
    """
    relax = SURROGATES[surrogate]

    def attack(encode, images, references, keys):
        def agreement(x, iteration):
            return (relax(encode(x, iteration)) * references).mean(axis=1)

        start = images
        if budget.random_start:
            start = uniform_noise(images, keys, budget.epsilon)
        return sign_descent(agreement, images, start, budget)

    return attack


def random_noise(budget: Budget) -> Attack:
    """Uniform noise of the same budget: the baseline that any attack must beat."""

    def attack(encode, images, references, keys):
        return uniform_noise(images, keys, budget.epsilon)

    return attack
