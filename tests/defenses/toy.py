"""A linear hashing network and eight images: small enough for oracles in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from cgat_jax.types import Bank, Batch, HashModel, TrainState

_rng = np.random.default_rng(7)
IMAGES = _rng.random((8, 2, 2, 3), dtype=np.float32)
LABELS = (_rng.random((8, 3)) < 0.5).astype(np.float32)
LABELS[2] = 0  # one image without a label
WEIGHTS = _rng.normal(size=(12, 8)).astype(np.float32) / 2
ROWS = np.array([1, 4, 2, 7])


def jit(step):
    """Compiled in a third of the time, and run slower: here compiling is what costs."""
    return jax.jit(step, compiler_options={"xla_backend_optimization_level": 0})


def linear_model() -> HashModel:
    def apply(params, stats, images, *, key=None, mask=None):
        flat = images.reshape(len(images), -1)
        return flat @ params["weights"] + params["bias"][None], stats

    return HashModel(init=lambda key, images: ({}, {}), apply=apply)


def batch(pad: int = 0) -> Batch:
    rows = ((0, pad), (0, 0))
    images = np.pad(IMAGES[ROWS].reshape(4, -1), rows).reshape(-1, 2, 2, 3)
    return Batch(
        images=jnp.array(images),
        labels=jnp.array(np.pad(LABELS[ROWS], rows)),
        indices=jnp.array(np.append(ROWS, [8] * pad), jnp.int32),
        mask=jnp.arange(4 + pad) < 4,
    )


def state(tx, loss_state=({}, {})) -> TrainState:
    """The bank holds the signs of all clean codes, as after the first pass."""
    loss_params, constants = loss_state
    params = {"weights": jnp.array(WEIGHTS), "bias": jnp.zeros(8)}
    logits, _ = linear_model().apply(params, {}, jnp.array(IMAGES))
    params = {"model": params, "loss": loss_params}
    bank = Bank(jnp.sign(logits), jnp.array(LABELS))
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, {}, constants, bank, tx.init(params))


def clean_codes() -> np.ndarray:
    return np.tanh(IMAGES.reshape(8, -1) @ WEIGHTS)
