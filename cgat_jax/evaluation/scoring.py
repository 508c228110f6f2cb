"""How well codes retrieve, and the MAP that a perfect attack would reach."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from cgat_jax.attacks import ATTACKS
from cgat_jax.evaluation.references import CodesBySplit, References
from cgat_jax.retrieval import RetrievalScores, average_precision_at, evaluate_retrieval
from cgat_jax.retrieval.label_sets import relevant_shares

EVERY_ROW = slice(None)


def goal_codes(attack: str, rows: np.ndarray, bits: int) -> np.ndarray | None:
    """Codes that a perfect attack would give the queries; None where it has none.

    Args:
        attack: its name.
        rows: what it is given, a row a query, codes first.
        bits: code length.
    """
    references = ATTACKS[attack].references
    if not references.is_code:
        return None
    codes = rows[:, :bits]
    return codes if references.approached else -codes


class Scorer:
    """Scores codes of the attacked queries against a network's database codes."""

    def __init__(self, references: References):
        """``references`` knows the queries, their labels and their targets."""
        self._references, self._config = references, references.config
        dataset = references.dataset
        self._database_labels = dataset.labels[dataset.split.database]

    def scores(
        self, query_codes, codes: CodesBySplit, labels=None, rows=EVERY_ROW
    ) -> RetrievalScores:
        """All measures; relevant is what shares one of ``labels``, by default own."""
        labels = self._references.labels[rows] if labels is None else labels
        return evaluate_retrieval(
            *self._tables(query_codes, labels, codes), **self._how
        )

    def precision(
        self, query_codes, codes: CodesBySplit, rows=EVERY_ROW
    ) -> Float64[np.ndarray, " n"]:
        """Average precision of queries ``rows``, whose codes are given."""
        tables = self._tables(query_codes, self._references.labels[rows], codes)
        return average_precision_at(*tables, **self._how)

    def chances(self, rows=EVERY_ROW) -> Float64[np.ndarray, " n"]:
        """Share of the database that is relevant to each query."""
        return relevant_shares(self._references.labels[rows], self._database_labels)

    def map_bound(
        self, attack: str, goals, codes: CodesBySplit, found
    ) -> dict[str, Any]:
        """MAP of a perfect attack's codes; of targeted attacks the t-MAPs as well.

        Args:
            attack: its name.
            goals: codes of a perfect attack, or None, see ``goal_codes``.
            codes: the attacked network's.
            found: codes that the attack found.
        """
        entry = ATTACKS[attack]
        if entry.targeted:
            targets = self._references.targets()
            clean = self._references.own(codes)
            return {
                "bound": self.scores(goals, codes).map,
                "t_map": self.scores(found, codes, targets).map,
                "t_map_clean": self.scores(clean, codes, targets).map,
                "t_map_bound": self.scores(goals, codes, targets).map,
            }
        return {} if goals is None else {"bound": self.scores(goals, codes).map}

    def _tables(self, query_codes, labels, codes: CodesBySplit) -> tuple:
        return query_codes, labels, codes["database"], self._database_labels

    @property
    def _how(self) -> dict[str, int]:
        settings = self._config.evaluate
        return {"top_k": settings.top_k, "threads": self._config.data.threads}
