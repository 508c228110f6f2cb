"""A claim from what a finished run has measured of one of its networks."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cgat_jax import sharding
from cgat_jax.claims.form import (
    ATTACKS,
    FORM,
    MACHINE,
    MEASURED_WITH,
    Claim,
    check_protocol,
    checked,
    data_settings,
    file_digest,
    is_claim,
)
from cgat_jax.config import Config
from cgat_jax.config.settings import changed_settings
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.other_runs import read_config
from cgat_jax.evaluation.passes import forward_flops
from cgat_jax.evaluation.worst_case import VERSION
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.files.ownership import check_folder
from cgat_jax.models.network_file import NETWORK_FILE
from cgat_jax.retrieval import bootstrap_interval
from cgat_jax.zoo import CLAIM_FILE

Record = dict[str, Any]
_DIGITS = 6
_TRAINED_BY = ("data.", "model.", "loss.", "backbone.", "pretrain.", "defense.")
_OF_A_MACHINE = [f"data.{key}" for key in MACHINE]


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What a claim says that no run knows.

    ``reasons`` say of each sanity check that failed why the numbers stand all the same.
    """

    name: str
    title: str
    authors: str
    link: str = ""
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
        missing += ["the sanity checks"] if doubted and not found else []
        if missing:
            raise InputError(
                f"{workdir}: not measured of this network: {', '.join(missing)}; run "
                f"it again with --config.evaluate.attacks={','.join(ATTACKS[1:])} and "
                "--config.evaluate.sanity_queries=64"
            )
        self.sanity = found[0] if found else None
        self.config = read_config(workdir)
        check_protocol(self.config.evaluate, workdir)


def make_claim(
    workdir: Path,
    net: Network,
    dataset: Dataset,
    about: About,
    *,
    data: Config | None = None,
    seeds: Mapping[Path, Network] | None = None,
) -> Claim:
    """The claim of a network, but for its file; in a workdir that is ours.

    Args:
        workdir: of a finished run, or of a benchmark.
        net: its network.
        dataset: its data.
        about: the rest.
        data: says how the data are loaded, where the workdir's settings do not.
        seeds: runs of the same recipe with other seeds, and their networks.

    Raises:
        InputError: something was not measured, or of other data; a check failed
            without a reason; or a run of ``seeds`` is not of the same recipe and data.
    """
    measured = Measured(workdir, net.sha256)
    config, clean = measured.config, measured.records["clean"]
    if clean["data_sha256"] != dataset.digest.whole:
        raise InputError(f"{workdir}: was measured on other data than these")
    sanity = _sanity(measured.sanity, about.reasons)
    precision = _precisions(workdir, config, dataset, net, clean["defense"])
    records, split = measured.records, dataset.split
    worst = records["worst_case"]
    claim = {
        "form": FORM,
        **{key: getattr(about, key) for key in ("name", "title", "authors", "link")},
        "recipe": _without_paths(net.card["config"]),
        "network": _network(net),
        "data": {
            "settings": data_settings((data or config).data),
            "sha256": dataset.digest.whole,
            "split": split.name,
            "split_sha256": split.sha256,
            "num_queries": len(split.query),
            "num_database": len(split.database),
            "num_train": len(split.train),
        },
        "measured": {
            "protocol": VERSION,
            **{key: getattr(config.evaluate, key) for key in MEASURED_WITH},
            "seed": config.seed,
            "attacks": {name: _measurement(x) for name, x in precision.items()},
            "components": worst["components"],
            "sanity": sanity,
            **{key: worst[key] for key in ("chance", "commit", "versions", "device")},
            "seconds": round(sum(x["seconds"] for x in records.values()), 1),
        },
    }
    claim["seeds"] = [_seed(run, other, claim) for run, other in (seeds or {}).items()]
    return json.loads(json.dumps(claim))


def write_claim(folder: Path, claim: Claim, net: Network) -> None:
    """Writes a claim and its network; replaces an earlier claim.

    Raises:
        ForeignFilesError: the folder holds something else.
        InputError: the claim is not of the right form.
    """
    check_folder(folder, "claim", is_own=is_claim)
    card = net.card | {"config": _without_paths(net.card["config"]), "records": []}
    unplaced = dataclasses.replace(net, card=card)
    digest = "0" * 64  # of the file, which is not written for a claim that is wrong
    checked(claim | {"network": claim["network"] | {"sha256": digest}}, folder)
    file = unplaced.save(folder / NETWORK_FILE)
    own = claim["network"] | {"sha256": file_digest(file)}
    write_sealed(folder / CLAIM_FILE, claim | {"network": own})


def _precisions(
    workdir: Path, config: Config, dataset: Dataset, net: Network, defense: str
) -> dict[str, np.ndarray]:
    """Average precision of each query, from the codes that the run has kept."""
    evaluator = Evaluator(config, dataset, sharding.make_mesh(), workdir, lambda: None)
    encoded = evaluator.encoded(defense, net.model, (net.params, net.stats))
    return {name: evaluator.precision(defense, name, encoded) for name in ATTACKS}


def _measurement(precision: np.ndarray) -> Record:
    kept = np.round(precision, _DIGITS)
    return {
        "map": float(precision.mean()),
        "interval": bootstrap_interval(precision),
        "per_query": kept.tolist(),
    }


def _network(net: Network) -> Record:
    keys = ("backbone", "bits", "defense", "loss", "image_size", "crop_size")
    return {
        "file": NETWORK_FILE,
        "sha256": "",
        "network_sha256": net.sha256,
        **{key: net.card[key] for key in keys},
        **size_of(net),
    }


def size_of(net: Network) -> Record:
    """How large a network is: its parameters, and operations of a forward pass."""
    config = Config()
    config.model.name, config.model.bits = net.card["backbone"], net.bits
    config.data.crop_size = net.card["crop_size"]
    count = sum(leaf.size for leaf in jax.tree.leaves(net.params))
    return {"parameters": int(count), "flops": forward_flops(config)}


def _sanity(record: Record, reasons: Mapping[str, str]) -> Record:
    failed = [x["name"] for x in record["checks"] if x["passed"] is False]
    if missing := [name for name in failed if name not in reasons]:
        named = " ".join(f"--reason='{name}=...'" for name in missing)
        raise InputError(
            f"sanity checks failed: {', '.join(missing)}; say why the numbers stand: "
            f"{named}"
        )
    keys = ("name", "passed", "value", "threshold")
    checks = [
        {key: check[key] for key in keys}
        | ({"reason": reasons[check["name"]]} if check["name"] in failed else {})
        for check in record["checks"]
    ]
    return {"num_queries": record["num_queries"], "checks": checks}


def _seed(workdir: Path, net: Network, claim: Claim) -> Record:
    """What a run of the claim's recipe with another seed has measured."""
    measured = Measured(workdir, net.sha256, doubted=False)
    ours, theirs = claim["recipe"], _without_paths(net.card["config"])
    wrong = [
        str(change)
        for change in changed_settings(ours, theirs)
        if change.key.startswith(_TRAINED_BY) and change.key not in _OF_A_MACHINE
    ]
    if theirs.get("seed") == ours.get("seed"):
        wrong.append(f"seed: {theirs.get('seed')} as well")
    if measured.records["clean"]["data_sha256"] != claim["data"]["sha256"]:
        wrong.append("other data")
    if wrong:
        raise InputError(
            f"{workdir}: not the same recipe with another seed: {'; '.join(wrong)}"
        )
    maps = {name: measured.records[name]["map"] for name in ATTACKS}
    return {"seed": theirs["seed"], "maps": maps}


def _without_paths(settings: Any) -> Any:
    """Settings without the places of one machine."""
    if isinstance(settings, dict):
        return {key: _without_paths(value) for key, value in settings.items()}
    if isinstance(settings, str) and ("/" in settings or "\\" in settings):
        return ""
    return settings
