"""What attacks are given of each query: center codes, targets' codes, own codes."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cgat_jax.attacks import ATTACKS, parse_attacks
from cgat_jax.attacks.prototypes import STEPS, prototype_codes
from cgat_jax.attacks.targets import ANCHORS, anchor_codes, draw_targets, hardest_codes
from cgat_jax.centers import center_codes, weighted_center_codes
from cgat_jax.config import Config, Evaluate
from cgat_jax.data.dataset import Dataset
from cgat_jax.types import Bank, PyTree
from cgat_jax.workdir import save_array

Codes = dict[str, np.ndarray]


class Given(NamedTuple):
    """What an attack is given: a row a query, and what was trained for it."""

    rows: Float[np.ndarray, "Q D"]
    generator: PyTree = ()


FAST_PROTOTYPE_STEPS = 3_000
_BLOCK = 512  # queries whose center codes are made at once


def needs_targets(config: Config) -> bool:
    """Whether a configured attack is targeted."""
    names = parse_attacks(f"{config.evaluate.attacks},{config.evaluate.transfer}")
    return any(ATTACKS[name].targeted for name in names if name in ATTACKS)


def target_labels(config: Config, dataset: Dataset, workdir: Path) -> np.ndarray:
    """Target label sets of all queries, multi-hot [Q, C]: drawn once, then kept.

    Raises:
        ValueError: there is none for a query.
    """
    path, split = workdir / "targets.npy", dataset.split
    if path.is_file():
        return np.load(path)
    rng = np.random.default_rng([config.seed, 7])
    labels = dataset.labels[split.query], dataset.labels[split.database]
    targets = draw_targets(*labels, rng)
    save_array(path, targets)
    return targets


def prototype_steps(settings: Evaluate) -> int:
    """Training steps of prototypes, of the settings or of their preset."""
    usual = {"paper": STEPS, "fast": FAST_PROTOTYPE_STEPS}[settings.preset]
    return settings.prototype_steps or usual


def attack_key(seed: int, name: str) -> jax.Array:
    """The key of an attack's randomness; no two names share theirs."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return jax.random.fold_in(jax.random.key(seed), number)


class References:
    """References of the attacked queries, from the codes of the attacked network."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        workdir: Path,
        check_stop: Callable[[], None],
    ):
        """Makes nothing yet; ``check_stop`` is called during long work."""
        self.config, self.dataset, self.workdir = config, dataset, workdir
        self.check_stop = check_stop
        limit = config.evaluate.num_queries or len(dataset.split.query)
        self.positions = dataset.split.query[:limit]
        self.labels = dataset.labels[self.positions]
        self._makers = {
            "none": self._nothing,
            "labels": lambda codes: self.labels,
            "own": lambda codes: codes["query"][: len(self.positions)],
            "center": lambda codes: self._centers(codes, self.labels, center_codes),
            "mainstay": lambda codes: self._centers(codes, self.labels, _mainstay),
            "target_mainstay": lambda codes: self._centers(
                codes, self.targets(), _mainstay
            ),
            "image": lambda codes: self._anchors(codes, 1),
            "anchor": lambda codes: self._anchors(codes, ANCHORS),
            "hardest_anchor": self._hardest,
            "prototype": self._prototypes,
        }

    def of(self, name: str, codes: Codes) -> Given:
        """What an attack without a generator is given; rows of zeros where nothing.

        Args:
            name: of the attack.
            codes: the attacked network's binary codes of ``train``, ``database`` and
                ``query``.
        """
        rows = self._makers[ATTACKS[name].references](codes)
        return Given(rows.astype(np.float32))

    def targets(self) -> np.ndarray:
        """Target label sets of the attacked queries, multi-hot [Q, C]."""
        targets = target_labels(self.config, self.dataset, self.workdir)
        return targets[: len(self.positions)]

    def bank(self, codes: Codes) -> Bank:
        """Binary codes and labels of the training images."""
        labels = self.dataset.labels[self.dataset.split.train]
        return Bank(_float(codes["train"]), _float(labels))

    def _nothing(self, codes: Codes) -> np.ndarray:
        return np.zeros((len(self.positions), codes["train"].shape[1]))

    def _centers(self, codes: Codes, labels: np.ndarray, make: Callable) -> np.ndarray:
        blocks = np.array_split(labels, -(-len(labels) // _BLOCK))
        make, bank = jax.jit(functools.partial(make, binary=True)), self.bank(codes)
        return np.concatenate([make(_float(block), bank) for block in blocks])

    def _anchors(self, codes: Codes, count: int) -> np.ndarray:
        rng = np.random.default_rng([self.config.seed, 8, count])
        labels = self.dataset.labels[self.dataset.split.database]
        return anchor_codes(self.targets(), codes["database"], labels, count, rng)

    def _hardest(self, codes: Codes) -> np.ndarray:
        seed = self.config.seed, 9
        labels = self.dataset.labels[self.dataset.split.database]
        top_k = self.config.evaluate.top_k
        return hardest_codes(self.labels, codes["database"], labels, top_k, seed)

    def _prototypes(self, codes: Codes) -> np.ndarray:
        settings, labels = self.config.evaluate, self.dataset.labels
        made = prototype_codes(
            attack_key(self.config.seed, "prototypes"),
            self.bank(codes),
            np.unique(labels[self.dataset.split.database], axis=0),
            self.targets(),
            steps=prototype_steps(settings),
            triangle=self.config.defense.triangle,
            check_stop=self.check_stop,
        )
        return np.asarray(made)


_mainstay = functools.partial(weighted_center_codes, weights="cosine")


def _float(table: np.ndarray) -> jax.Array:
    return jnp.asarray(table, jnp.float32)
