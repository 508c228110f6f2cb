"""What attacks are given of each query: center codes, targets' codes, own codes."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cgat_jax.attacks import ATTACKS
from cgat_jax.attacks import references as kinds
from cgat_jax.attacks.prototypes import STEPS, prototype_codes
from cgat_jax.attacks.targets import ANCHORS, anchor_codes, draw_targets, hardest_codes
from cgat_jax.centers import center_codes, weighted_center_codes
from cgat_jax.config import Config, Evaluate
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.kept import kept_array
from cgat_jax.processes import array_from_first, from_first
from cgat_jax.rng import device_stream, host_stream
from cgat_jax.types import Bank, PyTree
from cgat_jax.workdir import STREAMS, streams_of

CodesBySplit = dict[str, np.ndarray]


class AttackInputs(NamedTuple):
    """What an attack is given: a row a query, and what was trained for it."""

    rows: Float[np.ndarray, "Q D"]
    generator: PyTree = ()


FAST_PROTOTYPE_STEPS = 3_000
TARGETS_FILE = "targets.npy"
_BLOCK = 512  # queries whose center codes are made at once


def needs_targets(config: Config) -> bool:
    """Whether a configured attack is targeted."""
    names = {*config.evaluate.attack_list, *config.evaluate.transfer_list}
    return any(ATTACKS[name].targeted for name in names if name in ATTACKS)


def target_labels(config: Config, dataset: Dataset, workdir: Path) -> np.ndarray:
    """Target label sets of all queries, multi-hot [Q, C]: drawn once, then kept.

    A damaged file is drawn anew, the same.

    Raises:
        InputError: there is none for a query; or the file is damaged and of an earlier
            version, which drew otherwise.
    """
    path, split = workdir / TARGETS_FILE, dataset.split
    labels = dataset.labels[split.query], dataset.labels[split.database]

    def draw() -> np.ndarray:
        if (
            list(workdir.glob(f"{TARGETS_FILE}.damaged-*"))
            and streams_of(workdir) < STREAMS
        ):
            raise DamagedFileError(
                f"{path}: damaged, and drawn by an earlier version: give it back, or "
                "choose another --workdir"
            )
        return draw_targets(*labels, host_stream(config.seed, "targets"))

    read_or_draw = functools.partial(
        kept_array,
        path,
        draw,
        shape=labels[0].shape,
        dtype=np.uint8,
        low=0,
        high=1,
        of=f"targets of seed {config.seed} {dataset.digest.whole}",
        sealed=streams_of(workdir) >= STREAMS,
    )
    return array_from_first(read_or_draw)


def check_targets(config: Config, dataset: Dataset) -> None:
    """Finds that every query has a target label set; draws and keeps nothing.

    Raises:
        InputError: one has none.
    """
    split, labels = dataset.split, dataset.labels
    stream = host_stream(config.seed, "targets")
    draw_targets(labels[split.query], labels[split.database], stream)


def prototype_steps(settings: Evaluate) -> int:
    """Training steps of prototypes, of the settings or of their preset."""
    usual = {"paper": STEPS, "fast": FAST_PROTOTYPE_STEPS}[settings.preset]
    return settings.prototype_steps or usual


def answerable(query_labels: np.ndarray, database_labels: np.ndarray) -> np.ndarray:
    """Whether each query shares a label with any database image, bool [Q]."""
    return (query_labels.astype(bool) & database_labels.any(axis=0)).any(axis=1)


def attacked_rows(config: Config, dataset: Dataset) -> np.ndarray:
    """The rows of the query list that are attacked, ascending.

    Raises:
        InputError: none is left.
    """
    split, settings = dataset.split, config.evaluate
    rows = np.arange(len(split.query))
    if settings.without_relevant == "exclude":
        labels = dataset.labels
        rows = rows[answerable(labels[split.query], labels[split.database])]
    if not len(rows):
        raise InputError(
            "evaluate.without_relevant=exclude leaves no query: none shares a label "
            "with the database"
        )
    return rows[: settings.num_queries or None]


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
        self.rows = attacked_rows(config, dataset)
        self.positions = dataset.split.query[self.rows]
        self.labels = dataset.labels[self.positions]
        self._makers = {
            kinds.NOTHING: self._nothing,
            kinds.LABELS: lambda codes: self.labels,
            kinds.OWN: self.own,
            kinds.CENTER: lambda codes: self._centers(codes, self.labels, center_codes),
            kinds.MAINSTAY: lambda codes: self._centers(codes, self.labels, _mainstay),
            kinds.TARGET_MAINSTAY: lambda codes: self._centers(
                codes, self.targets(), _mainstay
            ),
            kinds.IMAGE: lambda codes: self._anchors(codes, 1),
            kinds.ANCHOR: lambda codes: self._anchors(codes, ANCHORS),
            kinds.HARDEST_ANCHOR: self._hardest,
            kinds.PROTOTYPE: self._prototypes,
        }

    def of(self, name: str, codes: CodesBySplit) -> AttackInputs:
        """What an attack without a generator is given; rows of zeros where nothing.

        Args:
            name: of the attack.
            codes: the attacked network's binary codes of ``train``, ``database`` and
                ``query``.
        """
        rows = self._makers[ATTACKS[name].references](codes)
        return AttackInputs(rows.astype(np.float32))

    def own(self, codes: CodesBySplit) -> np.ndarray:
        """The attacked queries' clean codes, of those of a network."""
        return codes["query"][self.rows]

    def targets(self) -> np.ndarray:
        """Target label sets of the attacked queries, multi-hot [Q, C]."""
        targets = target_labels(self.config, self.dataset, self.workdir)
        return targets[self.rows]

    def check_kept(self) -> None:
        """Has damaged targets that a run has kept drawn anew, also if nothing asks."""
        if from_first((self.workdir / TARGETS_FILE).is_file):
            self.targets()

    def bank(self, codes: CodesBySplit) -> Bank:
        """Binary codes and labels of the training images."""
        labels = self.dataset.labels[self.dataset.split.train]
        return Bank(_float(codes["train"]), _float(labels))

    def _nothing(self, codes: CodesBySplit) -> np.ndarray:
        return np.zeros((len(self.positions), codes["train"].shape[1]))

    def _centers(
        self, codes: CodesBySplit, labels: np.ndarray, make: Callable
    ) -> np.ndarray:
        blocks = np.array_split(labels, -(-len(labels) // _BLOCK))
        make, bank = jax.jit(functools.partial(make, binary=True)), self.bank(codes)
        return np.concatenate([make(_float(block), bank) for block in blocks])

    def _anchors(self, codes: CodesBySplit, count: int) -> np.ndarray:
        rng = host_stream(self.config.seed, "anchors", count)
        labels = self.dataset.labels[self.dataset.split.database]
        return anchor_codes(self.targets(), codes["database"], labels, count, rng)

    def _hardest(self, codes: CodesBySplit) -> np.ndarray:
        labels = self.dataset.labels[self.dataset.split.database]
        stream = functools.partial(host_stream, self.config.seed, "hardest anchors")
        top_k = self.config.evaluate.top_k
        return hardest_codes(self.labels, codes["database"], labels, top_k, stream)

    def _prototypes(self, codes: CodesBySplit) -> np.ndarray:
        labels = self.dataset.labels
        make = functools.partial(
            prototype_codes,
            device_stream(self.config.seed, "prototypes"),
            self.bank(codes),
            np.unique(labels[self.dataset.split.database], axis=0),
            self.targets(),
            steps=prototype_steps(self.config.evaluate),
            triangle=self.config.defense.triangle,
            check_stop=self.check_stop,
        )
        return array_from_first(lambda: np.asarray(make()))


_mainstay = functools.partial(weighted_center_codes, weights="cosine")


def _float(table: np.ndarray) -> jax.Array:
    return jnp.asarray(table, jnp.float32)
