"""Prototype networks: their training, and the target codes of THA that they make."""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cgat_jax import progress
from cgat_jax.losses.prototype import prototype_loss
from cgat_jax.models.prototype import PrototypeNet, make_prototype_net
from cgat_jax.types import Bank, Codes, Labels, Mask, PyTree, Scalar

STEPS, BATCH = 30_000, 32
LEARNING_RATE, BETA = 1e-4, 0.5
_FIRST_BLOCK = 8  # steps
_BLOCK_SECONDS = 1.0  # about what is queued on the device at once


def prototype_optimizer(steps: int) -> optax.GradientTransformation:
    """Adam at 1e-4, a tenth of it after half of the steps and again after 3/4."""
    drops = {steps // 2: 0.1, 3 * steps // 4: 0.1}
    rate = optax.piecewise_constant_schedule(LEARNING_RATE, drops)
    return optax.adam(rate, b1=BETA)


def descend_prototypes(
    objective: Callable[[PyTree], Scalar],
    tx: optax.GradientTransformation,
    params: PyTree,
    opt_state: PyTree,
) -> tuple[PyTree, PyTree, Scalar]:
    """One step down an objective: parameters, optimizer state, and its value."""
    value, gradients = jax.value_and_grad(objective)(params)
    updates, opt_state = tx.update(gradients, opt_state)
    return optax.apply_updates(params, updates), opt_state, value


def train_prototypes(
    network: PrototypeNet,
    tx: optax.GradientTransformation,
    trained: tuple[PyTree, PyTree],
    labels: Labels,
    bank: Bank,
    mask: Mask,
    *,
    triangle: bool = True,
) -> tuple[PyTree, PyTree, Scalar]:
    """One step on ``prototype_loss``: parameters, optimizer state, and its value.

    Args:
        network: of the prototypes.
        tx: its optimizer.
        trained: its parameters and the optimizer's state.
        labels: of the prototypes.
        bank: binary codes and labels of the training images.
        mask: which labels count.
        triangle: without the pairs j <= i, as released.
    """

    def objective(params):
        codes = network.apply(params, labels)
        return prototype_loss(codes, labels, bank, mask, triangle=triangle)

    return descend_prototypes(objective, tx, *trained)


def fit_prototypes(
    key: jax.Array,
    network: PrototypeNet,
    step: Callable[..., tuple[PyTree, PyTree, Scalar]],
    label_sets: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    check_stop: Callable[[], None] = lambda: None,
) -> PyTree:
    """The parameters of a prototype network after ``steps`` steps.

    Args:
        key: of the weights and of the label sets drawn for each step.
        network: whose parameters they are.
        step: ``step(tx, params, opt_state, labels) -> (params, opt_state, value)``.
        label_sets: drawn from uniformly, multi-hot [T, C].
        steps: of ``prototype_optimizer``.
        batch_size: label sets a step.
        check_stop: called before about each second of work, all before it being done.
    """
    sets, tx = jnp.asarray(label_sets, jnp.float32), prototype_optimizer(steps)
    init_key, key = jax.random.split(key)
    params = network.init(init_key, sets[:1])

    def train(number, carry):
        draw_key = jax.random.fold_in(key, number)
        draw = jax.random.randint(draw_key, (batch_size,), 0, len(sets))
        params, state, _ = step(tx, *carry, sets[draw])
        return params, state

    block = jax.jit(lambda a, b, carry: jax.lax.fori_loop(a, b, train, carry))
    carry = params, tx.init(params)
    nothing = progress.part(cost=0.0)  # no image passes through a network
    with nothing, progress.bar("train prototypes", steps, unit="steps") as bar:
        for start, end in _blocks(steps, check_stop):
            carry = jax.block_until_ready(block(start, end, carry))
            bar.update(end - start)
    return carry[0]


def _blocks(steps: int, check_stop: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """Parts of the steps, each of about a second: what they make does not depend on it.

    The caller finishes a part before it takes the next one; in between it may stop.
    """
    start, size = 0, _FIRST_BLOCK
    while start < steps:
        check_stop()
        end, began = min(start + size, steps), time.monotonic()
        yield start, end
        start, seconds = end, time.monotonic() - began
        if seconds < _BLOCK_SECONDS / 2:
            size *= 2
        elif seconds > 2 * _BLOCK_SECONDS:
            size = max(size // 2, 1)


def prototype_codes(
    key: jax.Array,
    bank: Bank,
    label_sets: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = STEPS,
    triangle: bool = True,
    check_stop: Callable[[], None] = lambda: None,
) -> Codes:
    """Signs of a prototype network's codes for the target label sets.

    Args:
        key: of the network's weights and of the label sets drawn for each step.
        bank: binary codes of the training images, and their labels.
        label_sets: unique label sets of the database, multi-hot [T, C].
        targets: multi-hot [Q, C].
        steps: of ``prototype_optimizer``, each on 32 label sets.
        triangle: see ``prototype_loss``.
        check_stop: called now and then.

    References:
        Wang et al., Targeted Attack and Defense for Deep Hashing, SIGIR 2021.
    """
    network = make_prototype_net(bank.codes.shape[1])

    def step(tx, params, opt_state, labels):
        mask = jnp.ones(BATCH, bool)
        return train_prototypes(
            network, tx, (params, opt_state), labels, bank, mask, triangle=triangle
        )

    params = fit_prototypes(
        key,
        network,
        step,
        label_sets,
        steps=steps,
        batch_size=BATCH,
        check_stop=check_stop,
    )
    return jnp.sign(network.apply(params, jnp.asarray(targets, jnp.float32)))
