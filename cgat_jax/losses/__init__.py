"""Hashing losses. A new one is a factory of ``HashLoss`` and a line in ``LOSSES``."""

import inspect
from collections.abc import Callable
from typing import Any

from cgat_jax.errors import InputError, lookup
from cgat_jax.losses.csq import make_csq
from cgat_jax.losses.dch import make_dch
from cgat_jax.losses.dsdh import make_dsdh
from cgat_jax.losses.greedyhash import make_greedyhash
from cgat_jax.losses.pairwise import make_dph, make_dpsh, make_hashnet
from cgat_jax.losses.quantization import with_swdc
from cgat_jax.types import HashLoss


def _csq(*, rule: str = "multi") -> HashLoss:
    return make_csq(rule=rule)


def _csq_c(*, rule: str = "multi") -> HashLoss:
    return with_swdc(make_csq(rule=rule, quantization=0.0))


def _dsdh_c(*, quantization: float = 0.0) -> HashLoss:
    return with_swdc(make_dsdh(quantization=quantization))


LOSSES: dict[str, Callable[..., HashLoss]] = {
    "dpsh": make_dpsh,
    "dph": make_dph,
    "hashnet": make_hashnet,
    "dsdh": make_dsdh,
    "dch": make_dch,
    "csq": _csq,
    "greedyhash": make_greedyhash,
    "dsdh_c": _dsdh_c,
    "csq_c": _csq_c,
}


def make_loss(name: str, **options: Any) -> HashLoss:
    """A loss by its name; as all of these losses, in full float32 on every device.

    >>> import jax, jax.numpy as jnp
    >>> from cgat_jax.losses import make_loss
    >>> from cgat_jax.types import Bank, Batch
    >>> labels = jnp.eye(2)  # two images, each of a class of its own
    >>> bank = Bank(jnp.array([[0.9, 0.9], [-0.9, -0.9]]), labels)
    >>> indices, mask = jnp.arange(2), jnp.array([True, True])
    >>> batch = Batch(jnp.zeros((2, 4, 4, 3)), labels, indices, mask)
    >>> key, loss = jax.random.key(0), make_loss("dpsh", eta=0.01)
    >>> params, constants = loss.init(key, bank)
    >>> logits = jnp.array([[2.0, 2.0], [-2.0, -2.0]])
    >>> good = loss.apply(params, constants, logits, batch, bank, key)
    >>> bool(good < loss.apply(params, constants, -logits, batch, bank, key))
    True

    Args:
        name: a key of ``LOSSES``.
        **options: of this loss; one of another loss must have its default.

    Raises:
        InputError: the name or an option is unknown, and lists the known ones; or this
            loss does not use an option that was changed.
    """
    factory = lookup("loss", name, LOSSES)
    takes = {key: inspect.signature(make).parameters for key, make in LOSSES.items()}
    known = {key: entry for taken in takes.values() for key, entry in taken.items()}
    for option, value in options.items():
        default = lookup("option of a loss", option, known).default
        if option not in takes[name] and value != default:
            raise InputError(f"{option}={value} is not used by {name}: leave it out")
    own = {key: value for key, value in options.items() if key in takes[name]}
    return factory(**own)
