"""What a claim's own file, its network and the data say of it, without an attack."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgat_jax.claims.form import Claim, blind, file_digest
from cgat_jax.claims.making import size_of
from cgat_jax.data.dataset import Dataset, Split
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.sanity import CHECKS, SECOND_NETWORK
from cgat_jax.evaluation.worst_case import ENSEMBLE
from cgat_jax.models.network_file import read_network
from cgat_jax.retrieval import bootstrap_interval

ROUNDED = 1e-5


class Finding(NamedTuple):
    """A part of a claim: it holds, or not, or (None) nobody has looked."""

    what: str
    holds: bool | None
    text: str


def arithmetic(claim: Claim) -> Iterator[Finding]:
    """Whether a claim's numbers follow from one another."""
    measured, wrong = claim["measured"], []
    for name, record in measured["attacks"].items():
        precision = np.array(record["per_query"], np.float64)
        if not np.isclose(record["map"], precision.mean(), rtol=0, atol=ROUNDED):
            wrong.append(f"{name}: the mean of its queries is {precision.mean():.4f}")
        interval = bootstrap_interval(precision)
        if not np.allclose(record["interval"], interval, rtol=0, atol=10 * ROUNDED):
            wrong.append(f"{name}: its interval is not that of its queries")
    names = [part["attack"] for part in measured["components"]]
    lowest = min([part["map"] for part in measured["components"]], default=0.0)
    if names != [*ENSEMBLE]:
        wrong.append(f"components: expected {', '.join(ENSEMBLE)}")
    elif lowest < measured["attacks"]["worst_case"]["map"] - ROUNDED:
        wrong.append("worst_case is above one of its attacks")
    if abs(sum(part["share"] for part in measured["components"]) - 1) > ROUNDED:
        wrong.append("components: their shares of the queries do not add up to 1")
    checks = measured["sanity"]["checks"]
    wrong += _wrong_checks(checks)
    wrong += blind({check["name"]: check["value"] for check in checks})
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


def identity(folder: Path, claim: Claim, dataset: Dataset) -> Iterator[Finding]:
    """Whether network and data are those of the claim."""
    network, data = claim["network"], claim["data"]
    path = folder / network["file"]
    same = file_digest(path) == network["sha256"]
    yield Finding("the network's file", same, _digested(network["sha256"], same))
    if same:
        yield _described(network, Network(*read_network(path)))
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
