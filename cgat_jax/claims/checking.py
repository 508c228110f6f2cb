"""Whether a claim holds: what can be, is measured again, and compared.

A claim has the average precision (AP) of every query clean and under attack, so that a
few queries, drawn after it was made, are enough: each of their numbers is known before.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgat_jax import progress, sharding
from cgat_jax.claims.consistency import (
    ROUNDED,
    Finding,
    arithmetic,
    identity,
)
from cgat_jax.claims.form import ATTACKS, Claim, blind
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.evaluation.attack_runner import EncodedNetwork
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.sanity import examine
from cgat_jax.evaluation.sanity_network import SanityNetwork
from cgat_jax.evaluation.worst_case import attack_first
from cgat_jax.models.network_file import read_network
from cgat_jax.workdir import remember

CLEAN, ATTACKED, ONE = 0.002, 0.02, 0.09
"""Largest difference of a mean AP that counts as the same; of n queries attacked it may
be ``ONE / sqrt(n)``, three standard errors where other starts move one by 0.03.

With the claim's starts, but other convolutions and batches, means of the quickstart's
worst cases differed by at most 0.0006; nobody has measured it on an accelerator.
"""
FEW_BITS = 0.005
"""Share of bits in which programs of other sizes may differ on an accelerator."""
STATED = (
    *("title", "authors", "link", "recipe", "seeds", "commit, device and seconds"),
    "each attack of the ensemble",
)


class Sample(NamedTuple):
    """What is measured again: so many queries, drawn by a seed, and the checks.

    The attacks start by it as well: who makes a claim could choose a seed that is weak.
    """

    queries: int = 32
    seed: int = 0
    sanity: bool = True


def check_claim(
    folder: Path, claim: Claim, dataset: Dataset, config: Config, sample: Sample
) -> Iterator[Finding]:
    """Yields what was found, what is cheap first; without attacks after a wrong digest.

    Args:
        folder: of the claim.
        claim: as ``form.read_claim`` gives it.
        dataset: loaded with the settings of ``form.config_of``, and where they lie.
        config: those settings.
        sample: what to measure again.
    """
    found = [*arithmetic(claim), *identity(folder, claim, dataset)]
    yield from found
    if any(finding.holds is False for finding in found):
        yield Finding(
            "measured again", None, "not done: the claim is of something else"
        )
        return
    net = Network(*read_network(folder / claim["network"]["file"]))
    config = dataclasses.replace(config, seed=sample.seed)
    with tempfile.TemporaryDirectory(prefix="cgat_jax-claim-") as name:
        workdir = Path(name)
        remember(workdir, config, {"data": dataset.digest.to_json()})
        mesh = sharding.make_mesh()
        evaluator = Evaluator(config, dataset, mesh, workdir, lambda: None)
        network = net.params, net.stats
        encoded = evaluator.encoded("claimed", net.model, network)
        yield from _measured(evaluator, encoded, claim, sample)
        yield from _examined(evaluator, encoded, claim, sample)
    yield from (Finding(what, None, "stated, not checked") for what in STATED)


def drawn(queries: int, sample: Sample) -> np.ndarray:
    """The rows of the queries that are attacked again, ascending."""
    rng = np.random.default_rng([sample.seed, queries])
    return np.sort(rng.choice(queries, min(sample.queries, queries), replace=False))


def _measured(
    evaluator: Evaluator, encoded: EncodedNetwork, claim: Claim, sample: Sample
) -> Iterator[Finding]:
    """Clean retrieval of all queries, and the attacks on a few."""
    measured, scorer = claim["measured"], evaluator.scorer
    chance = float(scorer.chances().mean())
    same = abs(chance - measured["chance"]) <= ROUNDED
    yield Finding("chance", same, f"{100 * chance:.2f} %")
    again = evaluator.precision("claimed", "clean", encoded)
    yield _compared("clean", claim, again, np.arange(len(again)), CLEAN)
    rows, attacker = drawn(len(again), sample), evaluator.attacker
    if not len(rows):
        yield from (Finding(name, None, "not measured again") for name in ATTACKS[1:])
        return
    size = attacker.small_size(len(rows))
    for name in ATTACKS[1:]:
        with progress.part(name):
            if name == "worst_case":
                found = attack_first(attacker, scorer, encoded, rows, size)
                again = found.worst.average_precision
            else:
                result = attacker.run(name, encoded, rows=rows, size=size)
                again = scorer.precision(result.codes, encoded.codes, rows)
        most = max(ATTACKED, ONE / len(rows) ** 0.5)
        yield _compared(name, claim, again, rows, most)


def _compared(
    name: str, claim: Claim, again: np.ndarray, rows: np.ndarray, most: float
) -> Finding:
    claimed = np.array(claim["measured"]["attacks"][name]["per_query"])[rows]
    difference = claimed - again
    means = f"MAP {100 * again.mean():.2f} %, claimed {100 * claimed.mean():.2f} %"
    text = f"{means} (of {len(rows)} queries; at most {100 * most:.1f} apart"
    largest = f"; one query by {100 * abs(difference).max():.1f})"
    return Finding(name, bool(abs(difference.mean()) <= most), text + largest)


def _examined(
    evaluator: Evaluator, encoded: EncodedNetwork, claim: Claim, sample: Sample
) -> Iterator[Finding]:
    """The sanity checks again, on the queries that the claim names.

    One may miss its threshold, or its claimed value if that is higher, by half: on
    another machine its value is another one. None may be as if attacks were blind.
    """
    given = claim["measured"]["sanity"]
    if not sample.sanity:
        yield Finding("sanity checks", None, "not made again")
        return
    count = min(given["num_queries"], len(evaluator.references.positions))
    network = SanityNetwork(evaluator.attacker, evaluator.scorer, encoded, None, count)
    with progress.part("sanity"):
        checks, _ = examine(network)
    wrong, unmade = [], []
    for claimed, again in zip(given["checks"], checks, strict=True):
        if again.value is None:
            unmade.append(again.name)
            continue
        most = again.threshold
        if claimed["passed"] is False:
            most = max(most, claimed["value"])
        room = FEW_BITS if again.name in ("zero budget", "batch") else 0.0
        if again.value > most + max(0.5 * abs(most), room):
            wrong.append(f"{again.name} fails: {again.value:.4g}")
    wrong += blind({check.name: check.value for check in checks})
    left = f"; not made: {', '.join(unmade)}" if unmade else ""
    text = "; ".join(wrong) or f"{len(checks) - len(unmade)} made again, as claimed"
    yield Finding("sanity checks", not wrong, f"{text} (of {count} queries{left})")
