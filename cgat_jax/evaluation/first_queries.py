"""The worst case on the first queries, where all of them would cost too much."""

import time
from collections.abc import Mapping

import numpy as np

from cgat_jax import progress
from cgat_jax.attacks import ATTACKS, WORST_CASE
from cgat_jax.evaluation import records
from cgat_jax.evaluation.attack_runner import EncodedNetwork
from cgat_jax.evaluation.evaluator import Evaluator, Record
from cgat_jax.evaluation.records import is_named, is_of
from cgat_jax.evaluation.workload import attack_passes
from cgat_jax.evaluation.worst_case import attack_first
from cgat_jax.files.io import read_sealed
from cgat_jax.files.kept import read_kept
from cgat_jax.processes import from_first

FILE = "worst_case.json"


def worst_on_first(
    evaluator: Evaluator, networks: Mapping[str, EncodedNetwork]
) -> list[Record]:
    """A record of each network under the worst case, on some of the first queries.

    Each holds ``same_queries``, the MAP of the same queries clean and under the run's
    other attacks: beside the MAP of all queries it would be of others. What was
    measured before is read; measured anew where the settings name another number.

    Args:
        evaluator: which has measured the other attacks.
        networks: by defense.
    """
    queries = evaluator.worst_case_queries
    if not 0 < queries < len(evaluator.references.positions):
        return []
    cost, found = queries * attack_passes(WORST_CASE, evaluator.config), []
    for defense, encoded in networks.items():
        with progress.part(defense), progress.part(WORST_CASE, cost):
            found.append(_record(evaluator, defense, encoded, queries))
    return found


def _record(
    evaluator: Evaluator, defense: str, encoded: EncodedNetwork, queries: int
) -> Record:
    path = evaluator.folder / f"{defense}-first" / FILE
    record = from_first(lambda: read_kept(path))
    digests = {"network": encoded.digest, "data": evaluator.dataset.digest.whole}
    fits = is_of(record, **digests) and is_named(record, defense, WORST_CASE)
    if evaluator.config.evaluate.worst_case_queries > 0:  # else any number will do
        fits = fits and record["num_attacked"] == queries
    if not fits:
        record = _measure(evaluator, defense, encoded, queries)
    names = ["clean", *evaluator.attacks_named]
    if list(record.get("same_queries", [])) != names:
        rows = slice(record["num_attacked"])
        record["same_queries"] = {
            name: float(evaluator.precision(defense, name, encoded)[rows].mean())
            for name in names
        }
        unbounded = {name for name, entry in ATTACKS.items() if not entry.bounded}
        record["without_budget"] = [name for name in names if name in unbounded]
        evaluator.write(path, record)
        record = from_first(lambda: read_sealed(path))
    return record


def _measure(
    evaluator: Evaluator, defense: str, encoded: EncodedNetwork, queries: int
) -> Record:
    began, rows = time.monotonic(), slice(queries)
    attacker, scorer = evaluator.attacker, evaluator.scorer
    size = attacker.small_size(queries)
    found = attack_first(attacker, scorer, encoded, np.arange(queries), size)
    result = found.worst.result
    record = evaluator.describe(defense, WORST_CASE, encoded, queries)
    scores = scorer.scores(result.codes, encoded.codes, rows=rows)
    clean = evaluator.references.own(encoded.codes)[rows]
    record |= records.retrieval_measures(scores)
    record |= records.change_measures(result, clean)
    record |= records.ensemble_measures(found)
    return record | {"seconds": round(time.monotonic() - began, 2)}
