"""Projected gradient descent in an L-infinity ball, and the attacks built on it.

An attack is a *relaxation* (how logits become what the objective sees), an *objective*
(one number an image, made smaller) and a budget:

    attack = away_from_references(Budget(epsilon=8 / 255, steps=100, step_size=1 / 255))
    adversarial = attack(encode, images, references, keys)
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cgat_jax.attacks import objectives
from cgat_jax.errors import lookup
from cgat_jax.types import Attack, Codes, Images, Keys, Logits, Scalar

Radius = float | Scalar  # traced, one program serves all sizes of the ball
Objective = Callable[[Images, int], Float[Array, " B"]]
_EXPONENTS = (-120, 120)  # powers of two that float32 has, with their inverses
_LEVELS, _ROUNDING = 255, 1e-4  # float32 is off by 2e-5 of a level
RELAXATIONS = ("tanh", "logits", "unit")
ANNEALED = (0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How far and how hard an attack goes, in units of images in [0, 1].

    ``relaxation`` ``tanh`` lets the objective see tanh(alpha * logits), ``logits`` the
    logits themselves, a gradient that saturated codes do not stop, and ``unit`` the
    logits scaled to the length of a code, sqrt(K): no gradient goes into their scale
    (a code of one bit is its scale alone, and is ``z / (1 + |z|)``).
    ``alpha`` ``one`` is 1, ``annealed`` grows from 0.1 to 1 over the iterations. Other
    words are an ``InputError``.
    """

    epsilon: Radius = 8 / 255
    step_size: float = 2 / 255
    steps: int = 7
    random_start: bool = True
    alpha: str = "one"
    relaxation: str = "tanh"

    def __post_init__(self):
        lookup("alpha", self.alpha, dict.fromkeys(("one", "annealed")))
        lookup("relaxation", self.relaxation, dict.fromkeys(RELAXATIONS))


def alpha_at(budget: Budget, iteration: Array | int) -> Float[Array, ""]:
    """The slope of the tanh: ten equal parts of the iterations, if annealed.

    References:
        Bai et al., Targeted Attack for Deep Hashing based Retrieval, ECCV 2020, Sec.
        3.3; values of its released code.
    """
    if budget.alpha == "one":
        return jnp.ones(())
    part = jnp.minimum(iteration * 10 // max(budget.steps, 1), 9)
    return jnp.array(ANNEALED)[part]


def relax(logits: Logits, iteration: Array | int, budget: Budget) -> Codes:
    """What objectives see of the logits, see ``Budget``."""
    if budget.relaxation == "logits":
        return logits
    if budget.relaxation == "unit":
        return _of_unit_length(logits)
    return jnp.tanh(alpha_at(budget, iteration).astype(logits.dtype) * logits)


def _of_unit_length(logits: Logits) -> Codes:
    """Logits of length sqrt(K), whatever their scale; zeros stay, with a gradient.

    A power of two, which rounds nothing, takes their scale out before they are squared.
    """
    if logits.shape[1] == 1:  # the sign, of which there is no gradient
        return logits / (1 + jnp.abs(logits))
    peak = jax.lax.stop_gradient(jnp.abs(logits).max(axis=1, keepdims=True))
    _, exponent = jnp.frexp(peak)
    scale = jnp.ldexp(jnp.ones_like(peak), -jnp.clip(exponent, *_EXPONENTS))
    scaled = logits * jax.lax.stop_gradient(scale)
    length = jnp.linalg.norm(jnp.where(peak > 0, scaled, 1.0), axis=1, keepdims=True)
    return scaled * (logits.shape[1] ** 0.5 / length)


def ball(images: Images, epsilon: Radius) -> tuple[Images, Images]:
    """Lowest and highest allowed pixels: the L-infinity ball within [0, 1]."""
    return jnp.maximum(images - epsilon, 0.0), jnp.minimum(images + epsilon, 1.0)


def round_to_8_bits(
    adversarial: Images, images: Images, epsilon: Radius | None = None
) -> Images:
    """Adversarial images as a file of 8 bits would hold them, still in the ball.

    Args:
        adversarial: in [0, 1].
        images: what they were made of.
        epsilon: radius of the ball, of which whole levels count; None: no ball. A pixel
            that has no level in its ball, being between two, stays as it is.
    """
    found = jnp.clip(jnp.round(adversarial * _LEVELS), 0, _LEVELS)
    if epsilon is not None:
        lower, upper = (bound * _LEVELS for bound in ball(images, epsilon))
        lower, upper = jnp.ceil(lower - _ROUNDING), jnp.floor(upper + _ROUNDING)
        within = jnp.clip(found, lower, upper)
        found = jnp.where(lower <= upper, within, images * _LEVELS)
    return found / _LEVELS


def uniform_noise(images: Images, keys: Keys, epsilon: Radius) -> Images:
    """Images moved by uniform noise in [-epsilon, epsilon), clipped to [0, 1].

    Each image has its own key, so that its noise does not depend on its batch.
    """
    shape, dtype = images.shape[1:], images.dtype

    def draw(key):
        return jax.random.uniform(key, shape, dtype, -epsilon, epsilon)

    return jnp.clip(images + jax.vmap(draw)(keys), *ball(images, epsilon))


def start_of(images: Images, keys: Keys, budget: Budget) -> Images:
    """Where an attack starts: the images, or noise around them."""
    if not budget.random_start:
        return images
    return uniform_noise(images, keys, budget.epsilon)


def sign_descent(
    objective: Objective, images: Images, start: Images, budget: Budget
) -> Images:
    """Lowers each image's ``objective(images, iteration)`` by steps of one sign each.

        x <- clip(x - step_size * sign(gradient of the objective at x), ball)

    A pixel whose gradient is exactly 0 stays. Result in the ball; no gradient flows.

    References:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks,
        ICLR 2018; CgAT, Eq. 8 and 9.
    """
    tx = optax.GradientTransformation(
        lambda x: optax.EmptyState(),
        lambda g, state, x: (-budget.step_size * jnp.sign(g), state),
    )
    return projected_descent(objective, images, start, budget, tx)


def projected_descent(
    objective: Objective,
    images: Images,
    start: Images,
    budget: Budget,
    tx: optax.GradientTransformation,
) -> Images:
    """Lowers each image's objective with an optimizer, projecting after each update.

    The optimizer must treat pixels one by one, so that images stay independent; its
    state survives the projection. Result in the ball; no gradient flows.
    """
    lower, upper = ball(images, budget.epsilon)
    gradient = jax.grad(lambda x, iteration: objective(x, iteration).sum())

    def descend(iteration, carry):
        x, state = carry
        updates, state = tx.update(gradient(x, iteration), state, x)
        return jnp.clip(x + updates, lower, upper), state

    x, _ = jax.lax.fori_loop(0, budget.steps, descend, (start, tx.init(start)))
    return jax.lax.stop_gradient(x)


def descent_attack(
    budget: Budget,
    objective: Callable[[Codes, Codes], Float[Array, " B"]],
    descend: Callable[..., Images] = sign_descent,
) -> Attack:
    """Lowers ``objective(codes, references)``, see ``Budget``, by a kind of descent."""

    def attack(encode, images, references, keys):
        def of_images(x, iteration):
            codes = relax(encode(x, iteration), iteration, budget)
            return objective(codes, references)

        start = start_of(images, keys, budget)
        return descend(of_images, images, start, budget)

    return attack


def away_from_references(budget: Budget) -> Attack:
    """Untargeted: lowers mean_k(tanh(z_k) * reference_k) of each image.

    With center codes as references it is CgAT's own attack and its inner loop; a
    reference of zeros moves nothing but the random start. With minus a target code as
    reference it moves towards the target.

    References:
        CgAT, WWW 2023, Eq. 8 and 9.
    """
    return descent_attack(budget, objectives.agreement)


def towards_references(budget: Budget) -> Attack:
    """Targeted: raises mean_k(tanh(z_k) * reference_k) of each image.

    The references of P2P are codes of single images, those of DHTA anchor codes, those
    of THA prototype codes.

    References:
        Bai et al., ECCV 2020, Eq. 7; Wang et al., SIGIR 2021, Eq. 8.
    """
    return descent_attack(budget, objectives.disagreement)


def random_noise(budget: Budget) -> Attack:
    """Uniform noise of the same budget: the baseline that any attack must beat."""

    def attack(encode, images, references, keys):
        return uniform_noise(images, keys, budget.epsilon)

    return attack
