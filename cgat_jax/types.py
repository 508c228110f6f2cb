"""The vocabulary: array names, the records that flow through jit, and the roles.

Conventions, stated once:

- Images are float32 in [0, 1], NHWC. A budget of 8/255 means eight grey levels.
- ``logits`` z are a network's outputs; a *relaxed code* is ``tanh(alpha * z)`` in
  (-1, 1), a *binary code* is ``sign(z)`` in {-1, +1} (0 only where z is 0).
- Labels are multi-hot, {0, 1}. Two images are similar if they share a label.
- B batch, N bank (training set), M database, Q queries, K bits, C classes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from cgat_jax.precision import full_precision

Images = Float[Array, "B H W 3"]
Logits = Float[Array, "B K"]
Codes = Float[Array, "B K"]
Labels = Float[Array, "B C"]
Mask = Bool[Array, " B"]
Keys = Key[Array, " B"]
Scalar = Float[Array, ""]
PyTree = Any
Metrics = dict[str, Scalar]


class Batch(NamedTuple):
    """A batch of training images; all arrays have the full batch size.

    Rows past the end of the data set are padding: ``mask`` is False there, the image
    and the labels are zero, and ``indices`` is N, which no bank row has.
    """

    images: Images
    labels: Labels
    indices: Int[Array, " B"]
    mask: Mask


class Bank(NamedTuple):
    """The latest relaxed code of every training image, and its labels."""

    codes: Float[Array, "N K"]
    labels: Float[Array, "N C"]

    def record(self, batch: Batch, codes: Codes) -> "Bank":
        """Writes the batch's codes; padded rows are dropped."""
        return self._replace(codes=self.codes.at[batch.indices].set(codes, mode="drop"))


class TrainState(NamedTuple):
    """Everything that training changes: a checkpoint is exactly this.

    ``params`` is {"model": ..., "loss": ...}; ``stats`` are batch statistics;
    ``constants`` belong to the hashing loss; ``ema`` averages ``params["model"]`` and
    ``stats``, as a pair, and is empty where no average is kept; ``extra`` is what a
    defense keeps besides.
    """

    step: Int[Array, ""]
    params: dict[str, PyTree]
    stats: PyTree
    constants: PyTree
    bank: Bank
    opt_state: PyTree
    ema: PyTree = ()
    extra: PyTree = ()


class HashModel(NamedTuple):
    """A network as two pure functions.

    ``init(key, images) -> (params, stats)``;
    ``apply(params, stats, images, *, key=None, mask=None) -> (logits, stats)``: with a
    key the network trains (dropout, batch statistics), without one it evaluates.

    Networks with batch normalization follow one rule. In training, each forward pass is
    normalized by its own batch, padded rows (``mask`` False) left out, and gives back
    moved running statistics. Only a pass that the optimizer learns from keeps them: of
    adversarial images first, then of clean ones. Crafting and the first bank drop them;
    evaluation normalizes by them.
    """

    init: Callable[[PRNGKeyArray, Images], tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[Logits, PyTree]]


class HashLoss(NamedTuple):
    """A hashing loss as pure functions.

    ``init(key, bank) -> (params, constants)``: what the optimizer trains along, and
    what is kept in the checkpoint; the bank has all labels, but no codes yet.
    ``apply(params, constants, logits, batch, bank, key) -> loss``: relaxed codes are
    ``tanh(logits)``, and the bank holds the batch's own already; padded rows weigh
    nothing. ``refresh(constants, bank) -> constants`` runs before each epoch, if given.
    ``tanh_scale(step)`` multiplies the outputs in training, if given (HashNet).
    """

    init: Callable[[PRNGKeyArray, Bank], tuple[PyTree, PyTree]]
    apply: Callable[..., Scalar]
    refresh: Callable[[PyTree, Bank], PyTree] | None = None
    tanh_scale: Callable[[Int[Array, ""]], Scalar] | None = None
    min_batch: int = 1

    def scale(self, logits: Logits, step: Int[Array, ""]) -> Logits:
        """The network's outputs times the scale of this step."""
        if self.tanh_scale is None:
            return logits
        return logits * self.tanh_scale(step).astype(logits.dtype)


@runtime_checkable
class Encode(Protocol):
    """The network as an attack sees it: parameters and mode are the closure's."""

    def __call__(self, images: Images, iteration: Int[Array, ""] | int) -> Logits:
        """Logits; ``iteration`` counts the attack's forward passes (new dropout)."""


@runtime_checkable
class Attack(Protocol):
    """Makes adversarial images, each independently of the rest of its batch."""

    def __call__(
        self,
        encode: Encode,
        images: Images,
        references: Codes,
        keys: Keys,
    ) -> Images:
        """Images near ``images``; ``references`` are codes, ``keys`` one an image."""


@runtime_checkable
class StepFn(Protocol):
    """One training step; the caller jits it and donates the state."""

    def __call__(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """The next state and scalars to log; ``key`` is the run's root key."""


def masked_mean(values: Float[Array, "B *rest"], mask: Mask) -> Scalar:
    """Mean over the real rows of a padded batch, and over all other axes."""
    weights = mask.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    per_row = values.size // len(mask)
    return (values * weights).sum() / (weights.sum() * per_row)


@full_precision
def similarity(
    labels: Float[Array, "B C"], others: Float[Array, "N C"]
) -> Float[Array, "B N"]:
    """1 where two label rows share a class, else 0."""
    return (jnp.matmul(labels, others.T) > 0).astype(labels.dtype)
