"""MAP among training images, from the codes that training keeps anyway."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Num

from cgat_jax.retrieval import average_precision_at
from cgat_jax.rng import host_stream
from cgat_jax.types import TrainState

KEY = "map/training"
QUERIES, DATABASE = 200, 2_000
MOST = 20  # measurements of a stage


def make_training_map(
    labels: Num[np.ndarray, "N C"], *, seed: int, total: int, per_epoch: int
) -> Callable[[TrainState, int, int], dict[str, float]]:
    """Watches a stage by searching its bank: some training images search others.

    The codes are the bank's: each the latest that training has computed of its image,
    up to an epoch old and of an augmented crop. Nothing is encoded for it and nothing
    of the training depends on it, so that it costs next to nothing. It is no measure of
    retrieval on images that the network has not seen.

    Args:
        labels: of the training images, in the bank's order.
        seed: of the run; draws up to 200 images that search and 2,000 others.
        total: steps of the stage.
        per_epoch: steps of an epoch.

    Returns:
        ``measure(state, before, step)``: {"map/training": MAP over all answers} if an
        epoch has ended since step ``before``, but at most 20 times a stage, and at its
        end; else {}.
    """
    order = host_stream(seed, "training map").permutation(len(labels))
    count = min(QUERIES, len(labels) // 2)
    queries, database = order[:count], order[count : count + DATABASE]
    labels = (labels > 0).astype(np.int8)
    stride = per_epoch * -(-total // (per_epoch * MOST))

    def measure(state: TrainState, before: int, step: int) -> dict[str, float]:
        epoch_ended = before // stride != step // stride or step == total
        if not count or step < per_epoch or not epoch_ended:
            return {}
        bank = np.asarray(state.bank.codes.addressable_data(0))  # whole on each device
        tables = [
            table
            for rows in (queries, database)
            for table in (np.nan_to_num(np.sign(bank[rows])), labels[rows])
        ]
        found = average_precision_at(*tables, top_k=DATABASE, threads=1)
        return {KEY: float(found.mean())}

    return measure
