"""What runs have measured of a claim's network, and of its recipe with other seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgat_jax.claims.form import (
    ATTACKS,
    DOUBTED_QUERIES,
    MACHINE,
    PLACES,
    Claim,
    check_protocol,
)
from cgat_jax.config.settings import changed_settings
from cgat_jax.errors import InputError
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.other_runs import read_config
from cgat_jax.files.io import read_sealed

Record = dict[str, Any]
_TRAINED_BY = ("data.", "model.", "loss.", "backbone.", "pretrain.", "defense.")
_OF_A_MACHINE = [f"data.{key}" for key in MACHINE]
_NO_FILES = ("", "packed", "random")
_PLACES = (
    *(f"data.{key}" for key in PLACES),
    *("model.weights", "evaluate.sources", "pretrained", "compilation_cache"),
)


class Measured:
    """What a run, or a benchmark with a workdir, has measured of one network."""

    def __init__(self, workdir: Path, digest: str, *, doubted: bool = True):
        """Reads the records of the network of that digest.

        Args:
            workdir: of the run or the benchmark.
            digest: of the network.
            doubted: whether the sanity checks must have been made.

        Raises:
            InputError: something of the protocol was not measured; how to do it.
        """
        results = read_sealed(workdir / "results.json")
        own = [x for x in results["records"] if x["network_sha256"] == digest]
        self.records = {record["attack"]: record for record in own}
        found = [x for x in results["sanity"] if x.get("network_sha256") == digest]
        missing = [name for name in ATTACKS if name not in self.records]
        if doubted and not missing and not _enough(found, self.records["clean"]):
            missing.append(f"the sanity checks on {DOUBTED_QUERIES} queries")
        if missing:
            raise InputError(
                f"{workdir}: not measured of this network: {', '.join(missing)}; run "
                f"it again with --config.evaluate.attacks={','.join(ATTACKS[1:])} and "
                f"--config.evaluate.sanity_queries={DOUBTED_QUERIES}"
            )
        self.sanity = found[0] if found else None
        self.config = read_config(workdir)
        check_protocol(self.config.evaluate, workdir)


def _enough(sanity: list[Record], clean: Record) -> bool:
    least = min(DOUBTED_QUERIES, clean["num_queries"])
    return bool(sanity) and sanity[0]["num_queries"] >= least


def seeds_of(runs: Mapping[Path, Network], claim: Claim) -> list[Record]:
    """What runs of the claim's recipe with other seeds have measured.

    Raises:
        InputError: one is of another recipe, other data or another budget, or has the
            seed of the claim or of another one.
    """
    found = [_seed(run, net, claim) for run, net in runs.items()]
    for run, record in zip(runs, found, strict=True):
        if [other["seed"] for other in found].count(record["seed"]) > 1:
            raise InputError(
                f"{run}: another run has the seed {record['seed']} as well"
            )
    return found


def _seed(workdir: Path, net: Network, claim: Claim) -> Record:
    measured = Measured(workdir, net.sha256, doubted=False)
    ours, theirs = claim["recipe"], without_places(net.card["config"])
    wrong = [
        str(change)
        for change in changed_settings(ours, theirs)
        if change.key.startswith(_TRAINED_BY) and change.key not in _OF_A_MACHINE
    ]
    if theirs.get("seed") == ours.get("seed"):
        wrong.append(f"seed: {theirs.get('seed')} as well")
    if measured.records["clean"]["data_sha256"] != claim["data"]["sha256"]:
        wrong.append("other data")
    wrong += [
        f"evaluate.{key}: {claim['measured'][key]!r} -> {value!r}"
        for key in ("epsilon", "top_k")
        if (value := getattr(measured.config.evaluate, key)) != claim["measured"][key]
    ]
    if wrong:
        raise InputError(
            f"{workdir}: not the same recipe with another seed: {'; '.join(wrong)}"
        )
    maps = {name: measured.records[name]["map"] for name in ATTACKS}
    return {"seed": theirs["seed"], "maps": maps}


def without_places(settings: Record, prefix: str = "") -> Record:
    """Settings without the places of one machine."""
    kept: Record = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            kept[key] = without_places(value, f"{prefix}{key}.")
        else:
            placed = prefix + key in _PLACES and value not in _NO_FILES
            kept[key] = "" if placed else value
    return kept
