"""What the attacks' public face is given, checked: one clear line on what is wrong."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cgat_jax.attacks import ATTACKS, BOUNDED_CODES, Budget
from cgat_jax.attacks.pgd import RELAXATIONS
from cgat_jax.errors import InputError, typed
from cgat_jax.types import HashModel, Images, Logits

LogitsFn = Callable[[Images], Logits]
_KINDS = {
    "step_size": 0.0,
    "relaxation": "",
    "random_start": False,
    "round_images": False,
    "batch_size": 0,
}
_UNUSED = {
    "noise": ("steps", "step_size", "relaxation", "random_start"),
    "square": ("step_size", "random_start"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """What is seldom changed of an attack; None leaves the attack's own.

    >>> from cgat_jax import AttackSettings
    >>> AttackSettings(round_images=True, batch_size=64).random_start is None
    True

    Attributes:
        step_size: of attacks by signs, of images in [0, 1]; above 0, at most 1.
        relaxation: what the objective sees: ``tanh``, ``logits`` or ``unit``, see
            ``Budget``.
        random_start: from noise in the ball, or from the images.
        round_images: to 256 levels, still in the ball, as a file of 8 bits has them.
        batch_size: images at once; None takes all.
    """

    step_size: float | None = None
    relaxation: str | None = None
    random_start: bool | None = None
    round_images: bool = False
    batch_size: int | None = None


def checked_settings(given: AttackSettings | None) -> AttackSettings:
    """The settings with numbers of Python, or those that leave everything to attacks.

    Raises:
        InputError: they are something else, or one is of another type.
    """
    given = AttackSettings() if given is None else given
    if not isinstance(given, AttackSettings):
        got = type(given).__name__
        raise InputError(f"settings: expected AttackSettings(...) or None, got {got}")
    values = {
        key: typed(f"settings.{key}", value, _KINDS[key])
        for key, value in vars(given).items()
        if value is not None
    }
    if values.get("batch_size", 1) < 1:
        size = values["batch_size"]
        raise InputError(f"settings.batch_size: expected 1 or more, got {size}")
    return dataclasses.replace(given, **values)


def resolved_budget(
    name: str, epsilon: float, steps: int | None, settings: AttackSettings
) -> Budget:
    """The attack's own budget, changed where something is given.

    Raises:
        InputError: what is given is out of range, or not for this attack.
    """
    epsilon = typed("epsilon", epsilon, 0.0)
    steps = None if steps is None else typed("steps", steps, 0)
    if not 0 <= epsilon <= 1:
        raise InputError(
            f"epsilon: expected a radius from 0 to 1, of images in [0, 1], got "
            f"{epsilon:g}; eight of 255 levels are 8 / 255"
        )
    if steps is not None and steps < 0:
        raise InputError(f"steps: expected 0 or more, got {steps}")
    if settings.relaxation not in (None, *RELAXATIONS):
        raise InputError(
            f"settings.relaxation: expected one of {RELAXATIONS}, got "
            f"{settings.relaxation!r}"
        )
    if settings.relaxation == "logits" and name in BOUNDED_CODES:
        raise InputError(
            f"settings.relaxation: {name} compares codes of about 1, so it takes tanh "
            "or unit, not logits"
        )
    if settings.step_size is not None and not 0 < settings.step_size <= 1:
        raise InputError(
            "settings.step_size: expected a step above 0 and at most 1, of images in "
            f"[0, 1], got {settings.step_size:g}"
        )
    keys = ("step_size", "relaxation", "random_start")
    given = {"steps": steps} | {key: getattr(settings, key) for key in keys}
    given = {key: value for key, value in given.items() if value is not None}
    _check_used(name, given)
    return dataclasses.replace(ATTACKS[name].budget, epsilon=epsilon, **given)


def _check_used(name: str, given: Iterable[str]) -> None:
    unused = _UNUSED.get(name, () if ATTACKS[name].signs else ("step_size",))
    for key in given:
        if key in unused:
            where = key if key == "steps" else f"settings.{key}"
            raise InputError(f"{where} is not used by {name}: leave it out")


def logits_function(network: Any) -> LogitsFn:
    """A network as a function from images to logits.

    Args:
        network: that function, or a trained network with its ``model`` (a
            ``HashModel``), ``params`` and ``stats``.

    Raises:
        InputError: it is neither.
    """
    if isinstance(model := getattr(network, "model", None), HashModel):
        return lambda images: model.apply(network.params, network.stats, images)[0]
    if not callable(network):
        raise InputError(
            "encode: expected a function from images [n, H, W, 3] to logits [n, K], or "
            f"a network with model, params and stats; got {type(network).__name__}"
        )
    return network


def code_length(encode: LogitsFn, size: tuple[int, ...]) -> int:
    """The number K of logits that a function gives an image of a size [H, W, 3].

    Raises:
        InputError: JAX cannot trace it, or it gives something else than [n, K] numbers.
    """
    images = jax.ShapeDtypeStruct((2, *size), jnp.float32)
    try:
        found = jax.eval_shape(encode, images)
    except (jax.errors.ConcretizationTypeError, jax.errors.JAXTypeError) as error:
        what = " ".join(str(error).split())[:120]
        raise InputError(
            "encode: JAX cannot trace it, it needs the values of the images "
            f"({what}); write it in jax.numpy, or call other code by jax.pure_callback"
        ) from error
    shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
    if shape is None or len(shape) != 2 or shape[0] != 2:
        raise InputError(
            f"encode: expected logits [2, K] of images [2, {_shape(size)}], got "
            f"{type(found).__name__ if shape is None else f'[{_shape(shape)}]'}"
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"encode: expected logits of a floating type, got {dtype}")
    return shape[1]


def checked_pixels(images: Any) -> Array:
    """Images [n, H, W, 3] as float32 in [0, 1], or uint8 as they are.

    Raises:
        InputError: another shape, type or range.
    """
    found = jnp.asarray(images)
    if found.ndim != 4 or found.shape[3] != 3 or not found.size:
        hint = ""
        if found.ndim == 4 and found.shape[1] == 3:
            hint = "; channels come last: images.transpose(0, 2, 3, 1)"
        got = _shape(found.shape)
        raise InputError(f"images: expected [n, H, W, 3], got [{got}]{hint}")
    if found.dtype == jnp.uint8:
        return found
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(
            f"images: expected float in [0, 1] or uint8 in 0 to 255, got {found.dtype}"
        )
    found = found.astype(jnp.float32)
    low, high = float(found.min()), float(found.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"images: expected values in [0, 1], got {low:g} to {high:g}; normalize "
            "inside of encode, so that epsilon is in units of the images"
        )
    return found


def as_images(pixels: Array) -> Images:
    """What ``checked_pixels`` gives, as float32 in [0, 1].

    To be called in the program that attacks: XLA fuses the division with what comes
    next, so that in another program the last bit of a result can be another.
    """
    if pixels.dtype == jnp.uint8:
        return pixels.astype(jnp.float32) / 255
    return pixels


def checked_rows(
    what: str,
    given: Any,
    kind: str,
    shape: tuple[int | None, int | None],
    allowed: tuple[int, ...],
) -> Float[Array, "n D"]:
    """Rows as float32.

    Args:
        what: their name in an error.
        given: the rows.
        kind: what is expected, in words.
        shape: expected; None for any length.
        allowed: values.

    Raises:
        InputError: another shape, or another value.
    """
    found = np.asarray(given)
    wanted = ["n" if side is None else str(side) for side in shape]
    same = found.ndim == 2 and all(
        want in (None, have) for want, have in zip(shape, found.shape, strict=True)
    )
    if not same or not found.size:
        raise InputError(
            f"{what}: expected {kind}, here [{', '.join(wanted)}], got "
            f"[{_shape(found.shape)}]"
        )
    found = found.astype(np.float32)
    if not np.isin(found, allowed).all():
        other = found[~np.isin(found, allowed)][0]
        raise InputError(f"{what}: expected {kind}, found the value {other:g}")
    return jnp.asarray(found)


def _shape(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
