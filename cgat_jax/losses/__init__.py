"""Hashing losses. A new one is a factory of ``HashLoss`` and a line in ``LOSSES``."""

from cgat_jax.config import Loss, lookup
from cgat_jax.losses.pairwise import make_dpsh
from cgat_jax.types import HashLoss

LOSSES = {"dpsh": lambda settings: make_dpsh(eta=settings.eta)}


def make_loss(settings: Loss) -> HashLoss:
    """The loss named in the settings.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    return lookup("loss", settings.name, LOSSES)(settings)
