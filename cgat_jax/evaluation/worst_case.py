"""The worst case over attacks: each query keeps its lowest AP.

``standard-v1`` is to hashing what AutoAttack is to classification: a fixed ensemble
without parameters but the size of the ball, so that two numbers can be compared.
The clean query is no member; with it, the worst cases of the zoo's claims would be
lower by at most 0.002 points (0 to 0.2 % of queries).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from cgat_jax.attacks import Budget
from cgat_jax.evaluation.attack_runner import Attacker, AttackResult, EncodedNetwork
from cgat_jax.evaluation.scoring import Scorer

VERSION = "standard-v1"
RESTARTS, QUERIES = 4, 1_000
RESTARTED = ("apgd", "apgd_ap")
ENSEMBLE = (*RESTARTED, "apgd_anchor", "apgd_opposite", "square")
_GRADIENTS = Budget(steps=100, random_start=True, relaxation="unit")
_SEARCH = Budget(steps=QUERIES, relaxation="tanh")

RunAttack = Callable[[str, Budget, np.ndarray, int], AttackResult]
Score = Callable[[np.ndarray, np.ndarray], Float64[np.ndarray, " n"]]
_PARTS = ("codes", "images", "linf", "mse")


class WorstCase:
    """Of several attacks, each query's result of lowest average precision."""

    def __init__(self, num_queries: int):
        """Nothing was attacked yet."""
        self.average_precision = np.full(num_queries, np.inf)
        self.winning_attack = np.full(num_queries, -1)
        self.result: AttackResult | None = None

    def add(
        self,
        number: int,
        result: AttackResult,
        average_precision: np.ndarray,
        rows=None,
    ) -> None:
        """Takes over what is worse, and at first everything.

        Args:
            number: of the attack, noted in ``winning_attack``.
            result: of those queries.
            average_precision: [n] of them.
            rows: [n] the queries, ascending; by default all.
        """
        rows = np.arange(len(self.winning_attack)) if rows is None else rows
        if self.result is None:
            copies = {name: np.array(getattr(result, name)) for name in _PARTS}
            self.result = AttackResult(**copies, transfer_codes={})
        worse = average_precision < self.average_precision[rows]
        chosen = rows[worse]
        self.average_precision[chosen] = average_precision[worse]
        self.winning_attack[chosen] = number
        for name in _PARTS:
            whole, part = getattr(self.result, name), getattr(result, name)
            known = min(len(whole), len(part))  # only the first images are kept
            taken = worse[:known] & (rows[:known] < len(whole))
            whole[rows[:known][taken]] = part[:known][taken]


class EnsembleResult(NamedTuple):
    """What ``standard_v1`` found.

    ``map_per_attack`` has the MAP of each without its restarts; ``winning_attack`` of
    ``worst`` counts in ``ENSEMBLE``; ``restarted`` queries were still above chance
    after the first round.
    """

    worst: WorstCase
    map_per_attack: dict[str, float]
    restarted: int


def standard_v1(
    attack: RunAttack, score: Score, holds_above: Float64[np.ndarray, " Q"]
) -> EnsembleResult:
    """Attacks all queries with the ensemble and restarts for those that still hold.

    In this order, 100 iterations each with adaptive steps on logits of unit length,
    from a random start: away from the center code, down the relaxed average precision,
    towards the hardest of nine anchor codes, and away from the own code; then Square's
    1,000 queries of the network on the agreement with the center code. The queries
    whose average precision is still above chance get four restarts of the first two.

    Args:
        attack: ``attack(name, budget, rows, restart)``, results of queries ``rows`` in
            the ball of the run's size, whatever the budget's.
        score: ``score(codes, rows)``, average precision of queries ``rows``.
        holds_above: average precision of chance, for each query.

    References:
        Croce and Hein, ICML 2020 (AutoAttack), for the idea; the attacks see
        ``attacks.apgd`` and ``attacks.square``.
    """
    worst, map_per_attack = WorstCase(len(holds_above)), {}

    def try_one(number: int, rows: np.ndarray, restart: int = 0) -> np.ndarray:
        name = ENSEMBLE[number]
        budget = _SEARCH if name == "square" else _GRADIENTS
        result = attack(name, budget, rows, restart)
        average_precision = score(result.codes, rows)
        worst.add(number, result, average_precision, rows)
        return average_precision

    for number, name in enumerate(ENSEMBLE):
        map_per_attack[name] = float(
            try_one(number, np.arange(len(holds_above))).mean()
        )
    restarted = int((worst.average_precision > holds_above).sum())
    for restart in range(1, RESTARTS + 1):
        for number in range(len(RESTARTED)):
            rows = np.flatnonzero(worst.average_precision > holds_above)
            if len(rows):
                try_one(number, rows, restart)
    return EnsembleResult(worst, map_per_attack, restarted)


def attack_first(
    attacker: Attacker,
    scorer: Scorer,
    encoded: EncodedNetwork,
    queries: np.ndarray,
    size: int = 0,
) -> EnsembleResult:
    """What the ensemble finds for some queries of a run.

    Args:
        attacker: of the run's queries, in the ball of its settings.
        scorer: of their codes.
        encoded: the network under attack.
        queries: their rows, ascending; each one's result is the same among any others.
        size: images at once; 0: as the settings say.
    """
    settings, given = attacker.config.evaluate, {}

    def attack(name, budget, rows, restart):
        if name not in given:
            given[name] = attacker.given(name, encoded)
        return attacker.run(
            name,
            encoded,
            given=given[name],
            rows=queries[rows],
            budget=dataclasses.replace(budget, epsilon=settings.epsilon),
            restart=restart,
            keep=settings.gallery,
            size=size,
        )

    def score(codes, rows):
        return scorer.precision(codes, encoded.codes, queries[rows])

    return standard_v1(attack, score, scorer.chances(queries))
