"""Hashing losses. A new one is a factory of ``HashLoss`` and a line in ``LOSSES``."""

from cgat_jax.config import Loss
from cgat_jax.losses.csq import make_csq
from cgat_jax.losses.dch import make_dch
from cgat_jax.losses.dsdh import make_dsdh
from cgat_jax.losses.greedyhash import make_greedyhash
from cgat_jax.losses.pairwise import make_dph, make_dpsh, make_hashnet
from cgat_jax.losses.quantization import with_swdc
from cgat_jax.precision import full_precision
from cgat_jax.settings import lookup
from cgat_jax.types import HashLoss

LOSSES = {
    "dpsh": lambda s: make_dpsh(eta=s.eta, eta_form=s.eta_form),
    "dph": lambda s: make_dph(),
    "hashnet": lambda s: make_hashnet(continuation=s.continuation, unseen=s.unseen),
    "dsdh": lambda s: make_dsdh(quantization=s.quantization),
    "dch": lambda s: make_dch(),
    "csq": lambda s: make_csq(rule=s.rule),
    "greedyhash": lambda s: make_greedyhash(train_classifier=s.train_classifier),
    "dsdh_c": lambda s: with_swdc(make_dsdh(quantization=s.quantization)),
    "csq_c": lambda s: with_swdc(make_csq(rule=s.rule, quantization=0.0)),
}


def make_loss(settings: Loss) -> HashLoss:
    """The loss named in the settings, in full float32 on every device.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    loss = lookup("loss", settings.name, LOSSES)(settings)
    return loss._replace(
        init=full_precision(loss.init),
        apply=full_precision(loss.apply),
        refresh=full_precision(loss.refresh) if loss.refresh else None,
    )
