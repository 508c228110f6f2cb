"""One attack on images with any network: the attacks' public face.

Attacks inside this package are given ``Encode``, which counts their forward passes so
that the inner attack of a defense can draw new dropout for each. Nobody else needs the
count: here a network is a function of images alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from cgat_jax.attacks import (
    ATTACKS,
    WORST_CASE,
    AttackContext,
    AttackEntry,
    Budget,
)
from cgat_jax.attacks.inputs import (
    AttackSettings,
    LogitsFn,
    as_images,
    checked_pixels,
    checked_rows,
    checked_settings,
    code_length,
    logits_function,
    resolved_budget,
)
from cgat_jax.attacks.pgd import round_to_8_bits
from cgat_jax.attacks.references import GENERATED, LABELS, NOTHING, OWN
from cgat_jax.errors import InputError, NonFiniteError, lookup
from cgat_jax.rng import device_stream
from cgat_jax.types import Bank, Images

_LABELS = "multi-hot labels [n, C] of {0, 1}"
_CODES = "codes [n, K] of {-1, 0, 1}"


def attack(
    name: str,
    encode: Any,
    images: Any,
    references: Any = None,
    *,
    bank: Any = None,
    epsilon: float = 8 / 255,
    steps: int | None = None,
    key: Array | None = None,
    settings: AttackSettings | None = None,
) -> Float[Array, "n H W 3"]:
    """Adversarial images near ``images``, made on any network.

    The program is compiled anew in each call, since a function may have changed what it
    holds: give all images at once, with ``settings.batch_size`` if they are many.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from cgat_jax.attacks.run import attack
    >>> weights = jax.random.normal(jax.random.key(0), (8 * 8 * 3, 16))
    >>> def encode(images):  # any function from images to logits
    ...     return (images - 0.5).reshape(len(images), -1) @ weights / 8
    >>> images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    >>> own = np.sign(encode(images))
    >>> adversarial = attack("cgat", encode, images, own, epsilon=8 / 255, steps=20)
    >>> bool(abs(adversarial - images).max() <= 8 / 255 + 1e-6)
    True
    >>> bool((np.sign(encode(adversarial)) != own).mean() > 0.1)
    True

    Args:
        name: a key of ``ATTACKS``, except ProS-GAN's.
        encode: ``encode(images) -> logits``, from float32 [n, H, W, 3] in [0, 1] to
            [n, K], traceable by JAX, each row of its own image alone; or a trained
            network (with its ``model``, ``params`` and ``stats``).
        images: float [n, H, W, 3] in [0, 1], or uint8, which is divided by 255.
        references: a row an image. Codes [n, K] in {-1, 0, 1} to move away from (cgat,
            apgd, square: center codes; saat: mainstay codes; apgd_opposite: own codes,
            which are computed if left out), or to move towards (p2p, dhta, tha, nag,
            saat_targeted, apgd_anchor); the true labels, multi-hot [n, C] (sdha,
            apgd_ap); none (noise, hag).
        bank: of sdha and apgd_ap alone: ``(codes [N, K], labels [N, C])`` of the
            training images, or a ``Bank``.
        epsilon: radius of the L-infinity ball, of images in [0, 1].
        steps: iterations; None takes the attack's own. Noise has none.
        key: of random starts and noise; image i gets ``fold_in(key, i)``. None takes
            that of an evaluation with seed 0, which makes the same images to the bit
            of uint8 images, in batches of the same size.
        settings: the rest.

    Returns:
        float32, in the ball and in [0, 1].

    Raises:
        InputError: an argument has another shape, range or type than above; or the
            attack is none of these.
        NonFiniteError: own codes or the images found are not finite, as where a
            gradient of the network is NaN; not within a trace, which has no values.
    """
    settings = checked_settings(settings)
    entry = _entry(name)
    budget = resolved_budget(name, epsilon, steps, settings)
    pixels = checked_pixels(images)
    encode = logits_function(encode)
    bits = code_length(encode, pixels.shape[1:])
    if references is None and entry.references == OWN:
        rows = _own_codes(encode, pixels, settings.batch_size)
        _check_finite(rows, f"{name}: the network's logits are not finite")
    else:
        rows = _references(name, entry, references, pixels, bits)
    bank = _bank(name, entry, bank, bits, rows.shape[1])
    key, radius = _key(name, key), np.float32(epsilon)
    program = _program(entry, budget, encode, settings.round_images)
    found = _in_batches(
        lambda part: program(bank, part, key, radius),
        (pixels, rows),
        settings.batch_size,
    )
    _check_finite(found, f"{name}: attacked images are not finite")
    return found


def _check_finite(found: Array, text: str) -> None:
    """Raises ``NonFiniteError`` where values are there, which a trace has not."""
    if not isinstance(found, jax.core.Tracer) and not jnp.isfinite(found).all():
        raise NonFiniteError(text)


def _key(name: str, key: Array | None) -> PRNGKeyArray:
    """The given key, also one of the old kind, or the evaluation's of seed 0."""
    if key is None:
        return device_stream(0, name)
    try:
        is_new = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        found = key if is_new else jax.random.wrap_key_data(key)
    except (AttributeError, TypeError, ValueError):
        found = None
    if found is None or found.shape:
        raise InputError(f"key: expected jax.random.key(SEED) or None, got {key!r}")
    return found


def _entry(name: str) -> AttackEntry:
    if name == WORST_CASE:
        raise InputError(
            f"{WORST_CASE} is no single attack: it takes the worst of several by what "
            "they retrieve; measure it with benchmark"
        )
    entry = lookup("attack", name, ATTACKS)
    if entry.references == GENERATED:
        raise InputError(
            f"{name} trains a generator for the network on a training set, so that it "
            f"needs more than images: measure it with benchmark(..., attacks={name!r})"
        )
    return entry


def _references(
    name: str, entry: AttackEntry, given: Any, pixels: Array, bits: int
) -> Float[Array, "n D"]:
    """A row an image, as the attack takes them; zeros for one that takes none."""
    count = len(pixels)
    if entry.references == NOTHING:
        if given is not None:
            raise InputError(f"references: {name} takes none")
        return jnp.zeros((count, bits), jnp.float32)
    kind = _LABELS if entry.references == LABELS else _CODES
    if given is None:
        raise InputError(f"references: {name} needs {kind}, one row an image")
    if entry.references == LABELS:
        return checked_rows("references", given, kind, (count, None), (0, 1))
    return checked_rows("references", given, kind, (count, bits), (-1, 0, 1))


def _own_codes(
    encode: LogitsFn, pixels: Array, size: int | None
) -> Float[Array, "n K"]:
    """The codes that images have before they are attacked."""

    def signs(part):
        return jnp.sign(encode(as_images(part[0]))).astype(jnp.float32)

    return jax.lax.stop_gradient(_in_batches(signs, (pixels,), size))


def _bank(name: str, entry: AttackEntry, given: Any, bits: int, classes: int) -> Bank:
    """The bank of an attack on labels; an empty one for the others."""
    if entry.references != LABELS:
        if given is not None:
            raise InputError(f"bank: {name} takes none")
        return Bank(jnp.zeros((0, bits)), jnp.zeros((0, classes)))
    if given is None or len(given) != 2:
        raise InputError(
            f"bank: {name} needs (codes [N, K], labels [N, C]) of the training images"
        )
    codes = checked_rows("bank codes", given[0], _CODES, (None, bits), (-1, 0, 1))
    shape = len(codes), classes
    return Bank(codes, checked_rows("bank labels", given[1], _LABELS, shape, (0, 1)))


def _program(
    entry: AttackEntry, budget: Budget, encode: LogitsFn, rounded: bool
) -> Callable[..., Images]:
    """The attack on a batch; the size of the ball is an argument, as in evaluation."""

    def counted(images, iteration):
        return encode(images)

    def attack_rows(bank, rows, key, epsilon):
        pixels, references, indices = rows
        images = as_images(pixels)
        sized = dataclasses.replace(budget, epsilon=epsilon)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
        run = entry.make(sized, AttackContext(bank))
        found = run(counted, images, references, keys)
        return round_to_8_bits(found, images, epsilon) if rounded else found

    return jax.jit(attack_rows)


def _in_batches(run, rows: tuple[Array, ...], size: int | None) -> Array:
    """``run`` on all rows and their numbers; a last batch is filled up with zeros."""
    count = len(rows[0])
    size = count if size is None else size
    found = []
    for start in range(0, count, size):
        part = [_filled(x[start : start + size], size) for x in rows]
        indices = np.minimum(np.arange(start, start + size), count)
        found.append(run((*part, indices)))
    return jnp.concatenate(found)[:count]


def _filled(rows: Array, size: int) -> Array:
    missing = [(0, size - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
    return jnp.pad(rows, missing)
