"""What every step ends with."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from cgat_jax.types import Metrics, PyTree, Scalar, TrainState


def descend(
    state: TrainState,
    tx: optax.GradientTransformation,
    objective: Callable[[PyTree], tuple[Scalar, tuple]],
) -> tuple[TrainState, Metrics]:
    """One step of the optimizer on an objective of the parameters.

    ``objective(params) -> (loss, (stats, bank, metrics))``.
    The metrics gain the gradient's norm and the bank's largest code: with the loss they
    tell whether everything is finite.
    """
    gradients, (stats, bank, metrics) = jax.grad(objective, has_aux=True)(state.params)
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
