"""What the sanity checks need of a network and a few of its queries."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int8

from cgat_jax.attacks import Budget
from cgat_jax.evaluation.attack_runner import AttackResult


@runtime_checkable
class NetworkUnderTest(Protocol):
    """A network and a few queries, n of them, as the checks see them."""

    epsilon: float
    budget: Budget  # of the main attack
    restarts: int  # how many starts of it a record has the worst of
    chance: float
    images: Float[np.ndarray, "n H W 3"]
    codes: Int8[np.ndarray, "n K"]

    def outputs(self, count: int) -> list[Float[np.ndarray, "n K"]]:
        """What the network gives the queries, asked several times.

        Whatever it draws, in Python, NumPy or PyTorch, is drawn anew each time.
        """

    def attack(self, name: str, **changes: Any) -> AttackResult:
        """Attacks the queries and keeps all adversarial images.

        ``changes`` are fields of the budget, a number of the ``restart``, or ``size``:
        -1 attacks in batches of another size.
        """

    def average_precision(self, codes: np.ndarray) -> Float64[np.ndarray, " n"]:
        """Of the queries, had they these codes."""

    def agreement(self, images: np.ndarray) -> Float[np.ndarray, " n"]:
        """mean(u * center code) of images, u as the main attack sees it."""

    def zero_gradients(self, relaxation: str) -> float:
        """Share of exact zeros in the gradient of what the attack lowers.

        At the clean images, through a relaxation. What is not finite counts as zero.
        """

    def transferred(self, name: str, **changes: Any) -> np.ndarray | None:
        """Codes of images that were made on another network, if there is one."""
