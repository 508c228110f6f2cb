"""A claim from what a finished run has measured of one of its networks."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cgat_jax import sharding
from cgat_jax.claims.form import (
    ATTACKS,
    FORM,
    MEASURED_WITH,
    Claim,
    blind,
    checked,
    data_settings,
    file_digest,
    is_claim,
)
from cgat_jax.claims.measured import Measured, recipe_of, seeds_of, without_places
from cgat_jax.config import Config
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.passes import forward_flops
from cgat_jax.evaluation.worst_case import VERSION
from cgat_jax.files.io import write_sealed
from cgat_jax.files.ownership import check_folder
from cgat_jax.models.network_file import NETWORK_FILE
from cgat_jax.retrieval import bootstrap_interval
from cgat_jax.zoo import CLAIM_FILE

Record = dict[str, Any]
_DIGITS = 6


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
    used, split = (data or config).data, dataset.split
    if clean["data_sha256"] != dataset.digest.whole:
        raise InputError(f"{workdir}: was measured on other data than these")
    if used.crop_size != config.data.crop_size:
        sides = f"{config.data.crop_size} pixels, not of {used.crop_size}"
        raise InputError(f"{workdir}: was measured on images of {sides}")
    sanity = _sanity(measured.sanity, about.reasons)
    attacks = _measurements(workdir, config, dataset, net, clean["defense"])
    claim = {
        "form": FORM,
        **{key: getattr(about, key) for key in ("name", "title", "authors", "link")},
        "recipe": recipe_of(net.card["config"]),
        "network": _network(net),
        "data": {
            "settings": data_settings(used),
            "sha256": dataset.digest.whole,
            "split": split.name,
            "split_sha256": split.sha256,
            "num_queries": len(split.query),
            "num_database": len(split.database),
            "num_train": len(split.train),
        },
        "measured": _protocol(measured) | {"sanity": sanity, "attacks": attacks},
    }
    claim["seeds"] = seeds_of(seeds or {}, claim, workdir)
    return json.loads(json.dumps(claim))


def _protocol(measured: Measured) -> Record:
    """How it was measured, when and where."""
    records = [measured.records[name] for name in ATTACKS]
    worst, config = measured.records["worst_case"], measured.config
    return {
        "protocol": VERSION,
        **{key: getattr(config.evaluate, key) for key in MEASURED_WITH},
        "seed": config.seed,
        **{key: worst[key] for key in ("components", "chance", "versions")},
        "commit": _each(records, "commit") or None,
        "device": _each(records, "device"),
        "seconds": round(sum(record["seconds"] for record in records), 1),
    }


def _each(records: Sequence[Record], key: str) -> str:
    """What the records say, each once: they may be of several runs of one command."""
    return ", ".join(dict.fromkeys(str(x[key]) for x in records if x[key]))


def write_claim(folder: Path, claim: Claim, net: Network) -> None:
    """Writes a claim and its network; replaces an earlier claim.

    Raises:
        ForeignFilesError: the folder holds something else.
        InputError: the claim is not of the right form.
    """
    check_folder(folder, "claim", is_own=is_claim)
    card = net.card | {"config": without_places(net.card["config"]), "records": []}
    unplaced = dataclasses.replace(net, card=card)
    digest = "0" * 64  # of the file, which is not written for a claim that is wrong
    unfiled = claim | {"network": claim["network"] | {"sha256": digest}}
    write_sealed(folder / CLAIM_FILE, checked(unfiled, folder))  # the folder is ours
    file = unplaced.save(folder / NETWORK_FILE)
    own = claim["network"] | {"sha256": file_digest(file)}
    write_sealed(folder / CLAIM_FILE, claim | {"network": own})


def _measurements(
    workdir: Path, config: Config, dataset: Dataset, net: Network, defense: str
) -> dict[str, Record]:
    """Average precision of each query, from the codes that the run has kept."""
    evaluator = Evaluator(config, dataset, sharding.make_mesh(), workdir, lambda: None)
    encoded = evaluator.encoded(defense, net.model, (net.params, net.stats))
    precision = {x: evaluator.precision(defense, x, encoded) for x in ATTACKS}
    return {name: _measurement(value) for name, value in precision.items()}


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
    if wrong := blind({check["name"]: check["value"] for check in record["checks"]}):
        raise InputError(
            f"{'; '.join(wrong)}: the attacks did not see this network, so that its "
            "numbers are no claim"
        )
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
