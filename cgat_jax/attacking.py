"""One attack on all queries of a network: its references, its batches, what is left."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cgat_jax import devices
from cgat_jax.attacks import ATTACKS, budget_of, parse_attacks
from cgat_jax.attacks.prototypes import STEPS, prototype_codes
from cgat_jax.attacks.targets import ANCHORS, anchor_codes, draw_targets
from cgat_jax.centers import center_codes, weighted_center_codes
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.types import Bank, HashModel, PyTree
from cgat_jax.workdir import save_array

Network = tuple[PyTree, PyTree]
Codes = dict[str, np.ndarray]
FAST_PROTOTYPE_STEPS = 3_000
_BLOCK = 512  # queries whose center codes are made at once


def needs_targets(config: Config) -> bool:
    """Whether a configured attack is targeted."""
    names = parse_attacks(config.evaluate.attacks)
    return any(ATTACKS[name].targeted for name in names)


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


class Attacked(NamedTuple):
    """What an attack left of the queries: codes, the first images, the movement."""

    codes: np.ndarray
    images: np.ndarray
    linf: float
    rmse: float


class Attacker:
    """Compiles attacks once and runs them on networks of the same shape."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        mesh: Mesh,
        model: HashModel,
        workdir: Path,
        check_stop: Callable[[], None],
    ):
        """Compiles nothing yet; ``check_stop`` is called during long work."""
        self.config, self.dataset, self.mesh = config, dataset, mesh
        self.model, self.workdir, self.check_stop = model, workdir, check_stop
        limit = config.evaluate.num_queries or len(dataset.split.query)
        self.positions = dataset.split.query[:limit]
        self.labels = dataset.labels[self.positions]
        self._programs: dict[str, Callable] = {}

    def targets(self) -> np.ndarray:
        """Target label sets of the attacked queries, multi-hot [Q, C]."""
        targets = target_labels(self.config, self.dataset, self.workdir)
        return targets[: len(self.positions)]

    def references(self, name: str, codes: Codes) -> np.ndarray:
        """What the attack is given, float32, a row a query; zeros where nothing.

        Args:
            name: of the attack.
            codes: the attacked network's binary codes of ``train`` and ``database``.
        """
        kind, bits = ATTACKS[name].references, self.config.model.bits
        if kind == "none":
            return np.zeros((len(self.positions), bits), np.float32)
        if kind == "labels":
            return self.labels.astype(np.float32)
        bank = self.bank(codes)
        if kind in ("image", "anchor"):
            return self._anchors(codes, 1 if kind == "image" else ANCHORS)
        if kind == "prototype":
            return self._prototypes(bank)
        labels = self.targets() if ATTACKS[name].targeted else self.labels
        make = functools.partial(center_codes, binary=True)
        if kind != "center":
            make = functools.partial(
                weighted_center_codes, weights="cosine", binary=True
            )
        blocks = np.array_split(labels, -(-len(labels) // _BLOCK))
        jitted = jax.jit(make)
        return np.concatenate([jitted(_float(block), bank) for block in blocks])

    def bank(self, codes: Codes) -> Bank:
        """Binary codes and labels of the training images."""
        labels = self.dataset.labels[self.dataset.split.train]
        return Bank(_float(codes["train"]), _float(labels))

    def run(self, name: str, network: Network, codes: Codes, references, batches):
        """Attacks every query; ``batches`` are those of the queries, in order.

        Returns:
            An ``Attacked``; as many images as the galleries show.
        """
        shown, moved_codes, images = self.config.evaluate.gallery, [], []
        largest, squares, seen = 0.0, 0.0, 0
        spare = np.zeros((self.config.evaluate.batch_size, references.shape[1]))
        padded = np.concatenate([references, spare]).astype(np.float32)
        program, bank = self._program(name), self.bank(codes)
        for batch in batches:
            rows = (batch.images, padded[np.asarray(batch.indices)], batch.indices)
            signs, moved, change = program((*network, bank), rows)
            real = np.asarray(batch.mask)
            moved_codes.append(np.asarray(signs)[real])
            change = np.asarray(change, np.float64)[real]
            largest = max(largest, float(np.abs(change).max()))
            squares += float((change**2).mean(axis=(1, 2, 3)).sum())
            if seen < shown:
                images.append(np.asarray(moved)[real][: shown - seen])
            seen += int(real.sum())
        first = np.concatenate(images) if images else np.zeros((0, 1, 1, 3))
        whole = np.concatenate(moved_codes).astype(np.int8)
        return Attacked(whole, first, largest, (squares / seen) ** 0.5)

    def _program(self, name: str) -> Callable:
        """The attack on one batch as one program; compiled when it is first used."""
        if name in self._programs:
            return self._programs[name]
        budget, key = budget_of(name, self.config.evaluate), self._key(name)

        def attack_rows(network, rows):
            params, stats, bank = network
            pixels, references, indices = rows

            def encode(images, iteration):
                return self.model.apply(params, stats, images)[0]

            images = devices.to_images(pixels)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
            attack = ATTACKS[name].make(budget, bank)
            moved = attack(encode, images, references, keys)
            return jnp.sign(encode(moved, 0)), moved, moved - images

        rows, whole = devices.by_row(self.mesh), devices.replicated(self.mesh)
        self._programs[name] = jax.jit(
            attack_rows, in_shardings=(whole, rows), out_shardings=whole
        )
        return self._programs[name]

    def _key(self, name: str) -> jax.Array:
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        return jax.random.fold_in(jax.random.key(self.config.seed), number)

    def _anchors(self, codes: Codes, count: int) -> np.ndarray:
        rng = np.random.default_rng([self.config.seed, 8, count])
        labels = self.dataset.labels[self.dataset.split.database]
        return anchor_codes(self.targets(), codes["database"], labels, count, rng)

    def _prototypes(self, bank: Bank) -> np.ndarray:
        settings, labels = self.config.evaluate, self.dataset.labels
        usual = {"paper": STEPS, "fast": FAST_PROTOTYPE_STEPS}[settings.preset]
        made = prototype_codes(
            self._key("prototypes"),
            bank,
            np.unique(labels[self.dataset.split.database], axis=0),
            self.targets(),
            steps=settings.prototype_steps or usual,
            triangle=self.config.defense.triangle,
            check_stop=self.check_stop,
        )
        return np.asarray(made)


def _float(table: np.ndarray) -> jax.Array:
    return jnp.asarray(table, jnp.float32)
