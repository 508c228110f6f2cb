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
from cgat_jax.claims.form import ATTACKS, Claim, file_digest
from cgat_jax.claims.making import size_of
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset, Split
from cgat_jax.evaluation.attack_runner import EncodedNetwork
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.sanity import CHECKS, SECOND_NETWORK, examine
from cgat_jax.evaluation.sanity_network import SanityNetwork
from cgat_jax.evaluation.trained_networks import load_network
from cgat_jax.evaluation.worst_case import ENSEMBLE, attack_first
from cgat_jax.retrieval import bootstrap_interval
from cgat_jax.workdir import remember

CLEAN, ATTACKED, ONE = 0.002, 0.02, 0.09
"""Largest difference of a mean AP that counts as the same; of n queries attacked it may
be ``ONE / sqrt(n)``, three standard errors where other starts move one by 0.03.

With the claim's starts, but other convolutions and batches, means of the quickstart's
worst cases differed by at most 0.0006; nobody has measured it on an accelerator.
"""
_ROUNDED = 1e-5
STATED = (
    *("title", "authors", "link", "recipe", "seeds", "commit, device and seconds"),
    "each attack of the ensemble",
)


class Finding(NamedTuple):
    """A part of a claim: it holds, or not, or (None) nobody has looked."""

    what: str
    holds: bool | None
    text: str


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
    found = [*_arithmetic(claim), *_identity(folder, claim, dataset)]
    yield from found
    if any(finding.holds is False for finding in found):
        yield Finding(
            "measured again", None, "not done: the claim is of something else"
        )
        return
    net = load_network(folder / claim["network"]["file"])
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


def _arithmetic(claim: Claim) -> Iterator[Finding]:
    """Whether a claim's numbers follow from one another."""
    measured, wrong = claim["measured"], []
    for name, record in measured["attacks"].items():
        precision = np.array(record["per_query"], np.float64)
        if not np.isclose(record["map"], precision.mean(), rtol=0, atol=_ROUNDED):
            wrong.append(f"{name}: the mean of its queries is {precision.mean():.4f}")
        interval = bootstrap_interval(precision)
        if not np.allclose(record["interval"], interval, rtol=0, atol=10 * _ROUNDED):
            wrong.append(f"{name}: its interval is not that of its queries")
    names = [part["attack"] for part in measured["components"]]
    lowest = min([part["map"] for part in measured["components"]], default=0.0)
    if names != [*ENSEMBLE]:
        wrong.append(f"components: expected {', '.join(ENSEMBLE)}")
    elif lowest < measured["attacks"]["worst_case"]["map"] - _ROUNDED:
        wrong.append("worst_case is above one of its attacks")
    if abs(sum(part["share"] for part in measured["components"]) - 1) > _ROUNDED:
        wrong.append("components: their shares of the queries do not add up to 1")
    wrong += _wrong_checks(measured["sanity"]["checks"])
    yield Finding("its own arithmetic", not wrong, "; ".join(wrong) or "agrees")


def _wrong_checks(checks: list[dict]) -> list[str]:
    wrong = []
    if [check["name"] for check in checks] != [*CHECKS]:
        wrong.append(f"sanity: expected the {len(CHECKS)} checks of this version")
        return wrong
    for check in checks:
        name, value, threshold = check["name"], check["value"], CHECKS[check["name"]][1]
        passed = None if value is None else value <= threshold
        unmade = value is None and name != SECOND_NETWORK
        if unmade or check["passed"] != passed or check["threshold"] != threshold:
            wrong.append(
                f"sanity, {name}: {value} of {threshold:.4g} is not what it says"
            )
    return wrong


def _identity(folder: Path, claim: Claim, dataset: Dataset) -> Iterator[Finding]:
    """Whether network and data are those of the claim."""
    network, data = claim["network"], claim["data"]
    path = folder / network["file"]
    same = file_digest(path) == network["sha256"]
    yield Finding("the network's file", same, _digested(network["sha256"], same))
    if same:
        yield _described(network, load_network(path))
    for key, own in (
        ("sha256", dataset.digest.whole),
        ("split_sha256", dataset.split.sha256),
    ):
        what = "the split" if key == "split_sha256" else "the data"
        yield Finding(what, own == data[key], _digested(data[key], own == data[key]))
    yield _sized(data, dataset.split)


def _described(network: dict, net: Network) -> Finding:
    keys = ("backbone", "bits", "defense", "loss", "image_size", "crop_size")
    own = {key: net.card[key] for key in keys} | {"network_sha256": net.sha256}
    size = size_of(net)
    own["parameters"] = size["parameters"]
    wrong = [f"{key} is {own[key]!r}" for key in own if own[key] != network[key]]
    if not np.isclose(size["flops"], network["flops"], rtol=0.1):
        wrong.append(f"flops are {size['flops']:.4g}")
    return Finding("what the network is", not wrong, "; ".join(wrong) or f"{net}")


def _sized(data: dict, split: Split) -> Finding:
    own = {
        "split": split.name,
        "num_queries": len(split.query),
        "num_database": len(split.database),
        "num_train": len(split.train),
    }
    wrong = [f"{key} is {own[key]!r}" for key in own if own[key] != data[key]]
    text = f"{len(split.query):,} queries, {len(split.database):,} to search"
    return Finding("what the data are", not wrong, "; ".join(wrong) or text)


def _digested(digest: str, same: bool) -> str:
    return f"sha256 {digest[:12]}..." if same else f"its sha256 is not {digest[:12]}..."


def _measured(
    evaluator: Evaluator, encoded: EncodedNetwork, claim: Claim, sample: Sample
) -> Iterator[Finding]:
    """Clean retrieval of all queries, and the attacks on a few."""
    measured, scorer = claim["measured"], evaluator.scorer
    chance = float(scorer.chances().mean())
    same = abs(chance - measured["chance"]) <= _ROUNDED
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
    another machine its value is another one.
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
        if again.value > most + 0.5 * abs(most):
            wrong.append(f"{again.name} fails: {again.value:.4g}")
    left = f"; not made: {', '.join(unmade)}" if unmade else ""
    text = "; ".join(wrong) or f"{len(checks) - len(unmade)} made again, as claimed"
    yield Finding("sanity checks", not wrong, f"{text} (of {count} queries{left})")
