"""Prototype networks: their training, and the target codes of THA that they make."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from cgat_jax.losses.prototype import prototype_loss
from cgat_jax.models.prototype import PrototypeNet, make_prototype_net
from cgat_jax.types import Bank, Codes, Labels, Mask, PyTree, Scalar

STEPS, BATCH = 30_000, 32
LEARNING_RATE, BETA = 1e-4, 0.5
_BLOCK = 500


def prototype_optimizer(steps: int) -> optax.GradientTransformation:
    """Adam at 1e-4, a tenth of it after half of the steps and again after 3/4."""
    drops = {steps // 2: 0.1, 3 * steps // 4: 0.1}
    rate = optax.piecewise_constant_schedule(LEARNING_RATE, drops)
    return optax.adam(rate, b1=BETA)


def train_prototypes(
    network: PrototypeNet,
    tx: optax.GradientTransformation,
    params: PyTree,
    opt_state: PyTree,
    labels: Labels,
    bank: Bank,
    mask: Mask,
    *,
    triangle: bool,
) -> tuple[PyTree, PyTree, Scalar]:
    """One step on ``prototype_loss``: parameters, optimizer state, and its value."""

    def objective(params):
        codes = network.apply(params, labels)
        return prototype_loss(codes, labels, bank, mask, triangle=triangle)

    value, gradients = jax.value_and_grad(objective)(params)
    updates, opt_state = tx.update(gradients, opt_state)
    return optax.apply_updates(params, updates), opt_state, value


def prototype_codes(
    key: jax.Array,
    bank: Bank,
    label_sets: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = STEPS,
    triangle: bool = True,
    check_stop=lambda: None,
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
    sets = jnp.asarray(label_sets, jnp.float32)
    init_key, key = jax.random.split(key)
    params = network.init(init_key, sets[:1])
    tx, mask = prototype_optimizer(steps), jnp.ones(BATCH, bool)

    def train(step, carry):
        draw = jax.random.randint(jax.random.fold_in(key, step), (BATCH,), 0, len(sets))
        params, state, _ = train_prototypes(
            network, tx, *carry, sets[draw], bank, mask, triangle=triangle
        )
        return params, state

    block = jax.jit(lambda a, b, carry: jax.lax.fori_loop(a, b, train, carry))
    carry = params, tx.init(params)
    starts = range(0, steps, _BLOCK)
    for start in tqdm(starts, desc="train prototypes", disable=None):
        check_stop()
        carry = block(start, min(start + _BLOCK, steps), carry)
    codes = network.apply(carry[0], jnp.asarray(targets, jnp.float32))
    return jnp.sign(codes)
