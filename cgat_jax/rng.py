"""Named random streams: each from (seed, purpose), and none can meet another.

Two draws that should be independent have different purposes; what is drawn again and
again for one purpose has numbers as well (an epoch, a row). The run's root key itself
is never used.

Host streams are NumPy's, with the purpose's digest as the spawn key of the seed; device
streams are JAX keys (CSQ seeds a generator of NumPy's from its own). Two things are
drawn from plain seeds, because they define data that is published: splits from
``[split_seed]`` and the quickstart's scenes from ``[split_seed, part, index]``. A spawn
key is appended to a seed of full length, so that no named stream is one of those.
"""

import hashlib
from typing import Any

import numpy as np

DEVICE_STREAMS = {
    "train/backbone": 1,
    "train/pretrain": 2,
    "train/defend": 3,
    "weights": 1_000,
    "first bank": 3_000,
}
"""Purposes whose numbers are older than this table; all others are hashed."""
NAMED_DEVICE_STREAMS = (
    "loss",
    "loss/redrawn",
    "defense",
    "prototypes",
    "prosgan/training",
)
"""The hashed purposes besides the attacks: a name, or ``NAME/restart 1`` and on."""
HOST_STREAMS = (
    *(
        f"{kind}/{stage}"
        for kind in ("order", "crops")
        for stage in ("backbone", "pretrain", "defend", "prosgan")
    ),
    *("targets", "anchors", "hardest anchors", "bootstrap", "alarm"),
    "training map",
)
"""All purposes of host streams."""


def host_stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """The host's random numbers for a purpose.

    Args:
        seed: of the run, 0 or more.
        purpose: one of ``HOST_STREAMS``.
        numbers: each from 0 to 2^32 - 1; other numbers, another stream.
    """
    if any(not 0 <= number < 2**32 for number in numbers):
        raise ValueError(f"stream {purpose!r}: numbers out of range: {numbers}")
    digest = hashlib.sha256(f"{purpose} {len(numbers)}".encode()).digest()
    words = np.frombuffer(digest[:16], "<u4").tolist()
    sequence = np.random.SeedSequence(seed, spawn_key=(*words, *map(int, numbers)))
    return np.random.default_rng(sequence)


def stream_number(purpose: str) -> int:
    """What is folded into the root key for a purpose, 0 to 2^32 - 1."""
    if purpose in DEVICE_STREAMS:
        return DEVICE_STREAMS[purpose]
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")


def device_stream(seed: int, purpose: str) -> Any:
    """The JAX key for a purpose: an attack's name, or one of those above."""
    import jax  # not at the top: the host's streams are used where jax is not

    return jax.random.fold_in(jax.random.key(seed), stream_number(purpose))
