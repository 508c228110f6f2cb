"""A loss on small random data, with the tables that it starts from."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cgat_jax.types import Bank, Batch

KEY = jax.random.key(0)
ROWS, SIZE, CLASSES, BITS = 5, 11, 3, 8


class Toy(NamedTuple):
    """NumPy arrays; ``index`` says which bank rows the batch is."""

    codes: np.ndarray
    labels: np.ndarray
    bank_codes: np.ndarray
    bank_labels: np.ndarray
    index: np.ndarray

    def bank(self):
        return Bank(jnp.array(self.bank_codes), jnp.array(self.bank_labels))

    def batch(self, pad=0):
        return Batch(
            images=jnp.zeros((len(self.codes) + pad, 1, 1, 3)),
            labels=jnp.array(np.pad(self.labels, ((0, pad), (0, 0)))),
            indices=jnp.array([*self.index, *[len(self.bank_codes)] * pad], jnp.int32),
            mask=jnp.arange(len(self.codes) + pad) < len(self.codes),
        )

    def logits(self, pad=0):
        """Of the codes; the padded rows' are not zero, as those of a network."""
        return jnp.array(np.pad(np.arctanh(self.codes), ((0, pad), (0, 0)), "reflect"))


def random_toy(rng, bits=BITS):
    """Multi-hot labels, one of the batch's rows and one of the bank's without any."""
    labels = (rng.random((SIZE, CLASSES)) < 0.4).astype(float)
    index = rng.permutation(SIZE)[:ROWS]
    labels[index[0]], labels[index[1]], labels[index[2]] = 0, [1, 1, 0], [0, 0, 1]
    codes, bank_codes = (np.tanh(rng.normal(size=(n, bits))) for n in (ROWS, SIZE))
    return Toy(codes, labels[index], bank_codes, labels, index)


def tables(loss, bank, **given):
    """(params, constants) as at the start of an epoch, some of them as given."""
    params, constants = loss.init(KEY, bank)
    if loss.refresh:
        constants = jax.jit(loss.refresh)(constants, bank)
    return tuple(
        {name: given.get(name, value) for name, value in table.items()}
        for table in (params, constants)
    )


def value_and_gradient(loss, start, logits, batch, bank):
    """With respect to the logits; ``start`` is what ``tables`` returns."""
    value, (gradient, _) = _compiled(loss)(logits, bank, start, batch)
    return float(value), np.asarray(gradient)


def bank_gradient(loss, start, logits, batch, bank):
    """With respect to the bank's codes and labels."""
    return _compiled(loss)(logits, bank, start, batch)[1][1]


@functools.cache
def _compiled(loss):
    def value(logits, bank, start, batch):
        return loss.apply(*start, logits, batch, bank, KEY)

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
