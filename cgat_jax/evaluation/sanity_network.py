"""A network and a few of its queries, as the sanity checks examine them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cgat_jax import sharding
from cgat_jax.attacks import Budget
from cgat_jax.attacks.objectives import agreement
from cgat_jax.attacks.pgd import relax
from cgat_jax.evaluation.attack_runner import Attacker, AttackResult, EncodedNetwork
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.passes import budget_passes
from cgat_jax.evaluation.references import AttackInputs
from cgat_jax.evaluation.sanity_measures import MAIN
from cgat_jax.evaluation.scoring import Scorer
from cgat_jax.models.torch_bridge import drawing
from cgat_jax.progress import Bar
from cgat_jax.types import HashModel

_KEPT = 8  # compiled programs, each of which may hold a network


class SanityNetwork:
    """A ``sanity.NetworkUnderTest`` of a trained network; each attack is run once."""

    def __init__(
        self,
        attacker: Attacker,
        scorer: Scorer,
        encoded: EncodedNetwork,
        transfer_source: EncodedNetwork | None,
        queries: int,
        bar: Bar | None = None,
    ):
        """Reads the first queries.

        Args:
            attacker: of the run's queries.
            scorer: of their codes.
            encoded: the network to examine.
            transfer_source: another network, for images made on it.
            queries: how many, at most as many as there are.
            bar: goes on with the attacks, in forward passes of all queries.
        """
        self._bar, self._size = bar, attacker.small_size(queries)
        self.config, self._scorer = attacker.config, scorer
        self.epsilon = self.config.evaluate.epsilon
        self.budget = budget_of(MAIN, self.config.evaluate)
        self.restarts = self.config.evaluate.restarts
        self._attacker, self._encoded = attacker, encoded
        self._transfer_source = transfer_source
        self._rows = np.arange(queries)
        self.chance = float(scorer.chances(self._rows).mean())
        positions = attacker.references.positions[self._rows]
        self.codes = attacker.references.own(encoded.codes)[self._rows]
        self._given: dict[str, AttackInputs] = {}
        self._known: dict[tuple, AttackResult] = {}
        pixels = [
            sharding.whole_array(attacker.mesh, batch.images)[batch.mask]
            for batch in attacker.batches(positions, "read queries", self._size)
        ]
        self.images = np.asarray(sharding.to_images(np.concatenate(pixels)))

    def outputs(self, count: int) -> list[np.ndarray]:
        """See ``NetworkUnderTest``: no program, which would draw once, when traced."""
        apply = self._encoded.model.apply
        here = jax.tree.map(np.asarray, self._encoded.network)
        params, stats = jax.tree.map(jnp.asarray, here)

        def logits(images, network):
            return apply(params, stats, jnp.asarray(images))[0]

        found = []
        for number in range(count):
            with drawing(number):
                found.append(self._in_blocks(logits, self.images))
        return found

    def attack(self, name: str, **changes: Any) -> AttackResult:
        """See ``NetworkUnderTest``; a ``size`` of -1 is another than the usual one.

        Images are kept of attacks with other steps alone: no check asks for the rest,
        and all of them would be a gigabyte of 64 queries at 224 pixels.
        """
        key = (name, *sorted(changes.items()))
        if key not in self._known:
            found = self._run(name, self._encoded, **changes)
            if not changes.keys() <= {"steps"}:
                found = found._replace(images=found.images[:0])
            self._known[key] = found
        return self._known[key]

    def average_precision(self, codes: np.ndarray) -> np.ndarray:
        """AP of the queries, had they these codes."""
        return self._scorer.precision(codes, self._encoded.codes, self._rows)

    def agreement(self, images: np.ndarray) -> np.ndarray:
        """See ``NetworkUnderTest``."""
        logits = self._in_blocks(_forward(self._encoded.model), images)
        codes = np.asarray(relax(jnp.asarray(logits), 0, self.budget))
        return (codes * self._centers()).mean(axis=1)

    def zero_gradients(self, relaxation: str) -> float:
        """See ``NetworkUnderTest``: a slope that is not finite leads nowhere either."""
        slope = _slope(self._encoded.model, relaxation)
        slopes = self._in_blocks(slope, self.images, self._centers())
        return float(((slopes == 0) | ~np.isfinite(slopes)).mean())

    def transferred(self, name: str, **changes: Any) -> np.ndarray | None:
        """This network's codes of images made on the other network."""
        if self._transfer_source is None:
            return None
        result = self._run(
            name, self._transfer_source, others={"here": self._encoded}, **changes
        )
        return result.transfer_codes["here"]

    def _run(
        self, name, encoded, restart=0, size=0, others=None, **changes
    ) -> AttackResult:
        budget = budget_of(name, self.config.evaluate)
        budget = dataclasses.replace(budget, **changes)
        result = self._attacker.run(
            name,
            encoded,
            given=self._given_for(name, encoded),
            rows=self._rows,
            budget=budget,
            restart=restart,
            keep=len(self._rows),
            size=self._other_size() if size else self._size,
            others=others,
        )
        if self._bar is not None and name != "noise":  # which is not counted
            self._bar.update(budget_passes(name, budget) * len(self._rows))
        return result

    def _given_for(self, name: str, encoded: EncodedNetwork) -> AttackInputs:
        if encoded is not self._encoded:
            return self._attacker.given(name, encoded)
        if name not in self._given:
            self._given[name] = self._attacker.given(name, encoded)
        return self._given[name]

    def _centers(self) -> np.ndarray:
        return self._given_for("cgat", self._encoded).rows[self._rows]

    def _other_size(self) -> int:
        """Half of this one, or twice where that is no whole number a device."""
        size = self._size or self.config.evaluate.batch_size
        return 2 * size if size % (2 * jax.device_count()) else size // 2

    def _in_blocks(self, function, images, *others) -> np.ndarray:
        """Applies a program to blocks of one size, the last one padded."""
        size, found = self._size or self.config.evaluate.batch_size, []
        network = self._encoded.network
        for start in range(0, len(images), size):
            blocks = [_padded(x[start : start + size], size) for x in (images, *others)]
            found.append(np.asarray(function(blocks[0], network, *blocks[1:])))
        return np.concatenate(found)[: len(images)]


@functools.lru_cache(maxsize=_KEPT)
def _forward(model: HashModel) -> Callable:
    """``(images, network) -> logits``, compiled once for all networks of a kind."""
    return jax.jit(lambda images, network: model.apply(*network, images)[0])


@functools.lru_cache(maxsize=_KEPT)
def _slope(model: HashModel, relaxation: str) -> Callable:
    """``(images, network, centers) ->`` gradient of what the main attack lowers."""
    budget = Budget(relaxation=relaxation)

    def total(images, network, centers):
        logits = model.apply(*network, images)[0]
        return agreement(relax(logits, 0, budget), centers).sum()

    return jax.jit(jax.grad(total))


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate(
        [rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)]
    )
