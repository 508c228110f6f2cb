"""SGD and Adam as PyTorch does them, and their learning rates."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from cgat_jax.config import Training
from cgat_jax.errors import lookup


def _thirds(rate: float, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """x0.1 a third; set at the end of an epoch, so that the first is one longer.

    The last takes what is left where the epochs do not divide by three.
    """
    period = max(steps // steps_per_epoch // 3, 1)

    def schedule(step):
        third = jnp.maximum(step // steps_per_epoch - 1, 0) // period
        return rate * 0.1 ** jnp.minimum(third, 2).astype(float)

    return schedule


def _drops(*fractions: float) -> Callable[[float, int, int], optax.Schedule]:
    """x0.1 at each fraction of the steps, rounded down."""

    def make(rate: float, steps: int, steps_per_epoch: int) -> optax.Schedule:
        scales = {int(fraction * steps): 0.1 for fraction in fractions}
        return optax.piecewise_constant_schedule(rate, scales)

    return make


def _cosine(rate: float, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """From the rate to 0 along half a cosine."""
    decay = optax.cosine_decay_schedule(rate, max(steps, 1))
    return lambda step: decay(jnp.asarray(step, jnp.float32))


SCHEDULES = {
    "thirds": _thirds,
    "half": _drops(0.5),
    "half_and_three_quarters": _drops(0.5, 0.75),
    "cosine": _cosine,
    "constant": lambda rate, steps, _: optax.constant_schedule(rate),
}


def make_schedule(settings: Training, steps_per_epoch: int) -> optax.Schedule:
    """Learning rate of step t (0-based) of a stage.

    ``half`` is what the released code of CgAT does: its second decay, at three
    quarters, compares an integer step with a half and never happens on the paper's
    data sets; ``half_and_three_quarters`` is what it meant. ``thirds`` is the
    pretraining's: with 100 epochs, 34 at the full rate, 33 at a tenth, 33 at a
    hundredth.

    Raises:
        ValueError: the name is unknown.
    """
    make = lookup("schedule", settings.schedule, SCHEDULES)
    steps = settings.epochs * steps_per_epoch
    return make(settings.learning_rate, steps, steps_per_epoch)


OPTIMIZERS = {
    "sgd": lambda settings: optax.trace(decay=settings.momentum),
    "adam": lambda settings: optax.scale_by_adam(b1=settings.momentum),
}


def make_optimizer(
    settings: Training, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """SGD: g <- g + decay * p;  m <- momentum * m + g;  p <- p - rate * m.

    No dampening, no Nesterov; the decay applies to every parameter, biases included.
    ``adam`` has (momentum, 0.999) as its decay rates, and the weight decay in g.

    Raises:
        ValueError: the name is unknown.
    """
    core = lookup("optimizer", settings.optimizer, OPTIMIZERS)
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        core(settings),
        optax.scale_by_learning_rate(schedule),
    )
