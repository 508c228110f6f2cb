"""What every step ends with."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from cgat_jax.types import Metrics, PyTree, Scalar, StepFn, TrainState


def descend(
    state: TrainState,
    tx: optax.GradientTransformation,
    objective: Callable[[PyTree], tuple[Scalar, tuple]],
    *,
    awp: float = 0.0,
) -> tuple[TrainState, Metrics]:
    """One step of the optimizer on an objective of the parameters.

    ``objective(params) -> (loss, (stats, bank, metrics))``.
    The metrics gain the gradient's norm and the bank's largest code: with the loss they
    tell whether everything is finite.

    Args:
        state: before the step.
        tx: the optimizer.
        objective: as above.
        awp: gamma of adversarial weight perturbation, see ``perturbed``; 0 leaves it
            out. Statistics, bank and metrics are those of the unperturbed weights.
    """
    gradient = jax.grad(objective, has_aux=True)
    gradients, (stats, bank, metrics) = gradient(state.params)
    if awp:
        gradients, _ = gradient(perturbed(state.params, gradients, awp))
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    metrics |= {
        "gradient_norm": optax.tree.norm(gradients),
        "bank_max": jnp.abs(bank.codes).max(),
    }
    state = state._replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        stats=stats,
        bank=bank,
        opt_state=opt_state,
    )
    return state, metrics


def perturbed(params: PyTree, gradients: PyTree, gamma: float) -> PyTree:
    """Weights moved up their gradient g, layer by layer: w + gamma |w| g / |g|.

    Biases and batch normalization (arrays of one axis) stay, and so do weights without
    a gradient.

    References:
        Wu et al., Adversarial Weight Perturbation Helps Robust Generalization,
        NeurIPS 2020, Eq. 9 and 10, one step. The direction is that of the step's whole
        objective.
    """

    def move(weights, gradient):
        if weights.ndim < 2:
            return weights
        norm = jnp.linalg.norm(gradient)
        size = gamma * jnp.linalg.norm(weights) / jnp.where(norm > 0, norm, 1)
        return weights + size * gradient

    return jax.tree.map(move, params, gradients)


def with_average(step: StepFn, decay: float) -> StepFn:
    """A step that keeps ``ema <- d * ema + (1 - d) * network`` as well.

    After step t (from 1), d is the smaller of ``decay`` and t / (9 + t), so that the
    network that training starts from fades: of a constant 0.999, after 250 steps 78 %
    of the average would be that one. Averaged are the parameters and the running
    statistics, which would not fit averaged weights otherwise.

    References:
        TensorFlow, ``tf.train.ExponentialMovingAverage(num_updates=t - 1)``.
    """

    def averaged(state: TrainState, batch, key):
        state, metrics = step(state, batch, key)
        now = state.step.astype(jnp.float32)
        rate = jnp.minimum(decay, now / (9 + now))
        ema = jax.tree.map(  # optax.incremental_update rounds otherwise once compiled
            lambda mean, now: rate * mean + (1 - rate) * now,
            state.ema,
            (state.params["model"], state.stats),
        )
        return state._replace(ema=ema), metrics

    return averaged
