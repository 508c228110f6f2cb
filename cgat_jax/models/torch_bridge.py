"""A PyTorch module as a function of JAX, gradients included.

The module runs in PyTorch, where it is, whenever the function is computed: in a
compiled program it is a call back to Python. PyTorch is imported when it is needed and
by nothing else in this package.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cgat_jax.errors import InputError
from cgat_jax.models.callback import on_host
from cgat_jax.types import Images, Logits

# One call at a time: modules may share parts, and the mode of a part and PyTorch's
# random numbers belong to the whole process.
_ONE_AT_A_TIME = threading.RLock()
_drawn: int | None = None  # the seed of ``drawing``


def from_torch(module: Any, *, device: Any = None) -> Callable[[Images], Logits]:
    """``encode(images) -> logits``: float32 [n, H, W, 3] in [0, 1] to float32 [n, K].

    It can be compiled, looped over and differentiated once (``jax.jit``,
    ``lax.fori_loop``, ``jax.grad``), so that it can be attacked and evaluated as any
    network here. The backward pass computes the forward pass again. The module gets
    [n, 3, H, W] in the type of its first parameter, on its own device, in evaluation
    mode; normalization is its own affair. It is left as it was: modes, ``.grad``,
    ``requires_grad`` and PyTorch's random numbers. What it computes is looked up at
    each call, so that a module that is trained further gives its new logits.

    Calls are made one at a time, from any thread. On a GPU that PyTorch and JAX share,
    set ``XLA_PYTHON_CLIENT_PREALLOCATE=false`` before JAX starts, so that memory is
    left for PyTorch.

    >>> import torch
    >>> from cgat_jax import from_torch
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
    >>> from_torch(module)(torch.rand(2, 8, 8, 3).numpy()).shape
    (2, 16)

    Args:
        module: a ``torch.nn.Module`` that maps images to one tensor of K logits each.
        device: where the images are sent, as PyTorch names devices; by default where
            the module's first parameter is. The module itself is not moved.

    Raises:
        InputError: PyTorch is missing, or ``module`` is no module. ``encode`` raises it
            as well, when it is traced, if the images are not float32 [n, H, W, 3], or
            the module does not take their size or give one row of logits for each.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        raise InputError(f"from_torch expects a torch.nn.Module, got {kind}")
    network = _Network(module, device)
    lengths: dict[tuple[int, int], int] = {}

    def encode(images):
        images = _checked(images)
        size = images.shape[1:3]
        if size not in lengths:
            lengths[size] = _code_length(network, size)
        if not len(images):
            return jnp.zeros((0, lengths[size]), jnp.float32)
        return _differentiable(network, lengths[size])(images)

    return encode


class _Network(NamedTuple):
    """A module and the device that its images are sent to, None for its own."""

    module: Any
    device: Any


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"from_torch needs PyTorch, which cannot be imported ({error}): install "
            "torch"
        ) from error
    return torch


def _checked(images: Any) -> Images:
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != jnp.float32:
        raise InputError(
            "a torch network is given float32 images [n, H, W, 3] in [0, 1], got "
            f"{images.dtype} {list(images.shape)}"
        )
    return images


def _differentiable(network: _Network, bits: int) -> Callable[[Images], Logits]:
    """The module on images of one size, with its backward pass."""

    @jax.custom_vjp
    def logits_of(images):
        def forward(images):
            return _forward(network, images, bits)

        shape = jax.ShapeDtypeStruct((len(images), bits), jnp.float32)
        return on_host(forward, shape, images)

    def backward_of(images, cotangents):
        def backward(images, cotangents):
            return _backward(network, images, cotangents)

        shape = jax.ShapeDtypeStruct(images.shape, jnp.float32)
        return (on_host(backward, shape, images, cotangents),)

    logits_of.defvjp(lambda images: (logits_of(images), images), backward_of)
    return logits_of


def _forward(network: _Network, images: np.ndarray, bits: int) -> np.ndarray:
    torch = _torch()
    with _evaluating(network) as given, torch.no_grad():
        logits = network.module(given(images))
        return _whole(logits, (len(images), bits)).float().cpu().numpy()


def _backward(
    network: _Network, images: np.ndarray, cotangents: np.ndarray
) -> np.ndarray:
    torch = _torch()
    with _evaluating(network) as given, torch.enable_grad():
        pixels = given(images).requires_grad_()
        # A copy: PyTorch refuses a module that changes the pixels themselves in place.
        logits = _whole(network.module(pixels.clone()), cotangents.shape)
        if not logits.requires_grad:
            raise InputError(
                "the torch module's logits have no gradient: something in it detaches "
                "them (torch.no_grad, detach)"
            )
        weights = torch.from_numpy(np.array(cotangents)).to(logits)
        (gradient,) = torch.autograd.grad(logits, pixels, weights)
        return gradient.float().cpu().numpy().transpose(0, 2, 3, 1)


def _code_length(network: _Network, size: tuple[int, int]) -> int:
    """K, from the module's output for two black images.

    Raises:
        InputError: it takes no such images, or gives something else than two rows.
    """
    black = np.zeros((2, *size, 3), np.float32)
    torch = _torch()
    try:
        with _evaluating(network) as given, torch.no_grad():
            logits = network.module(given(black))
    except Exception as error:  # whatever the module raises
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the torch module fails on images of {size[0]} x {size[1]} pixels: "
            f"{type(error).__name__}: {reason}"
        ) from error
    return _whole(logits, (2, None)).shape[1]


def _whole(logits: Any, expected: tuple[int, int | None]) -> Any:
    """The module's output, found to be floating point numbers [n, K].

    Raises:
        InputError: it is something else.
    """
    torch = _torch()
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"the torch module gives a {type(logits).__name__}, expected one tensor of "
            "logits: wrap it in a module that returns them alone"
        )
    rows, bits = expected
    shape, like = tuple(logits.shape), (rows, bits or logits.shape[-1:].numel())
    if shape != like or not logits.is_floating_point():
        raise InputError(
            f"the torch module gives {logits.dtype} {list(shape)} for {rows} images, "
            f"expected floating point logits [{rows}, {bits or 'K'}]"
        )
    return logits


@contextlib.contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Within, modules that draw random numbers draw those of a seed.

    Elsewhere a module draws the same numbers in each pass, as the generator is put
    back; whoever asks whether it draws any gives it others.
    """
    global _drawn
    before, _drawn = _drawn, seed
    try:
        yield
    finally:
        _drawn = before


@contextlib.contextmanager
def _evaluating(network: _Network) -> Iterator[Callable[[np.ndarray], Any]]:
    """Lends the module in evaluation mode; gives the function that makes its input.

    Modes are set part by part: ``eval()`` may be overridden to change weights.
    """
    torch = _torch()
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        device, dtype = _place(network)
        stack.enter_context(torch.inference_mode(False))
        cuda = [device] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        if _drawn is not None:
            torch.manual_seed(_drawn)
        for part in network.module.modules():
            stack.callback(setattr, part, "training", part.training)
            part.training = False

        def given(images):
            channels_first = np.array(images.transpose(0, 3, 1, 2), order="C")
            return torch.from_numpy(channels_first).to(device, dtype)

        yield given


def _place(network: _Network) -> tuple[Any, Any]:
    """Device and type that the module's input has."""
    torch, module = _torch(), network.module
    arrays = list(itertools.chain(module.parameters(), module.buffers()))
    floats = [array for array in arrays if array.is_floating_point()]
    device = arrays[0].device if arrays else torch.device("cpu")
    if network.device is not None:
        device = torch.device(network.device)
    return device, floats[0].dtype if floats else torch.float32
