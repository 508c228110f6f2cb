"""What runs have measured of a claim's network, and of its recipe with other seeds."""

from collections.abc import Mapping, Sequence
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
from cgat_jax.models.network_file import read_card
from cgat_jax.training.network_files import network_path
from cgat_jax.workdir import CONFIG_FILE, remembered, shares_pretraining

Record = dict[str, Any]
_TRAINED_BY = ("data.", "model.", "loss.", "backbone.", "pretrain.", "defense.")
_OF_A_MACHINE = [f"data.{key}" for key in MACHINE]
GIVEN = "given"
_NO_FILES = ("", "packed", "random", GIVEN)
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


def seeds_of(runs: Mapping[Path, Network], claim: Claim, workdir: Path) -> list[Record]:
    """What runs of the claim's recipe with other seeds have measured.

    Args:
        runs: the networks of the recipe by their runs.
        claim: of another network of it.
        workdir: what the claim is made of.

    Raises:
        InputError: one is of another recipe, other data or another budget, began with
            other weights, or has the seed of the claim or of another one, or defends
            the same network.
    """
    found = [_seed(run, net, claim) for run, net in runs.items()]
    _check_starts([workdir, *runs])
    for run, record in zip(runs, found, strict=True):
        if [other["seed"] for other in found].count(record["seed"]) > 1:
            raise InputError(
                f"{run}: another run has the seed {record['seed']} as well"
            )
    return found


def _check_starts(workdirs: Sequence[Path]) -> None:
    """Finds that runs began with the same weights, and each defends its own network."""
    known, defended = None, {}
    for run in workdirs:
        began = _first_weights(run)
        known = known or began
        if began != known and began is not None:
            raise InputError(f"{run}: began with other weights (model.weights)")
        digest = remembered(run, "pretrained")
        if digest and (other := defended.setdefault(digest, run)) != run:
            raise InputError(
                f"{run}: defends the very network that {other} does, so that they are "
                "no two seeds of a recipe"
            )


def _first_weights(run: Path) -> str | None:
    """Digest of the weights that a run's pretraining began with, if it is known.

    A run that defends the network of another began with that one's.
    """
    given = read_config(run).pretrained
    return remembered(Path(given) if given else run, "weights")


def recipe_of(settings: Record) -> Record:
    """The settings that a network was trained with, without the places of one machine.

    A network from elsewhere that was defended remains as ``GIVEN``, unless it was
    pretrained with these very settings.
    """
    kept = without_places(settings)
    if settings.get("pretrained") and not _pretrained_so(settings):
        kept["pretrained"] = GIVEN
    return kept


def _pretrained_so(settings: Record) -> bool:
    """Whether what a run defends is there, and was pretrained with its settings."""
    source = Path(settings["pretrained"])
    try:
        file = network_path(source)
        own = read_sealed(source / CONFIG_FILE) if file is None else {}
        own = own or (read_card(file).get("config") or {})
    except (OSError, InputError):
        return False
    changes = changed_settings(own, settings)
    return bool(own) and not any(shares_pretraining(x.key) for x in changes)


def _seed(workdir: Path, net: Network, claim: Claim) -> Record:
    measured = Measured(workdir, net.sha256, doubted=False)
    ours, theirs = claim["recipe"], recipe_of(net.card["config"])
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
    """Settings without the places of one machine; given weights remain as such."""
    kept: Record = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            kept[key] = without_places(value, f"{prefix}{key}.")
        else:
            placed = prefix + key in _PLACES and value not in _NO_FILES
            given = GIVEN if prefix + key == "model.weights" else ""
            kept[key] = given if placed else value
    return kept
