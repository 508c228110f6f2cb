"""Records of what was measured: every number with what it depends on."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cgat_jax.attacks import ATTACKS
from cgat_jax.attacks.references import GENERATED, PROTOTYPE
from cgat_jax.config import Config
from cgat_jax.config.settings import config_digest
from cgat_jax.data.dataset import Dataset
from cgat_jax.evaluation.attack_runner import AttackResult, EncodedNetwork
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.generators import generator_epochs
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.evaluation.references import CodesBySplit, prototype_steps
from cgat_jax.evaluation.worst_case import (
    ENSEMBLE,
    QUERIES,
    RESTARTS,
    VERSION,
    EnsembleResult,
)
from cgat_jax.retrieval import RetrievalScores, bootstrap_interval


def describe(
    config: Config,
    dataset: Dataset,
    encoded: EncodedNetwork,
    defense: str,
    attack: str,
    count,
) -> dict[str, Any]:
    """What a record is about: data, network, attack and settings.

    What is wrong with the data is the evaluator's to add, which knows it once.

    Args:
        config: the run's settings.
        dataset: its data.
        encoded: the attacked network.
        defense: what defends it.
        attack: its name.
        count: of the attacked queries.
    """
    split = dataset.split
    return {
        "warnings": code_warnings(encoded.codes),
        "dataset": dataset.name,
        "data_sha256": dataset.digest.whole,
        "network_sha256": encoded.digest,
        "split": split.name,
        "split_sha256": split.sha256,
        "num_queries": len(split.query),
        "num_attacked": count,
        "num_database": len(split.database),
        "num_train": len(split.train),
        "backbone": config.model.name,
        "bits": config.model.bits,
        "loss": config.loss.name,
        "defense": defense,
        "attack": attack,
        "attack_settings": _settings(config, attack),
        "budget": config.evaluate.epsilon if _bounded(attack) else None,
        "seed": config.seed,
        "without_relevant": config.evaluate.without_relevant,
        "t_map": None,
        "perturbation": None,
        "bits_flipped": None,
        "bound": None,
        "config_sha256": config_digest(config),
    } | provenance()


def code_warnings(codes: CodesBySplit) -> list[str]:
    """Sentences on codes that make every number meaningless."""
    kinds = {"database": "database images", "query": "queries"}
    return [
        f"this network gives all {kinds[part]} one and the same code, so that answers "
        "come in the order of the database"
        for part in kinds
        if (codes[part] == codes[part][:1]).all()
    ]


def _bounded(attack: str) -> bool:
    return attack != "clean" and (attack not in ATTACKS or ATTACKS[attack].bounded)


def _settings(config: Config, attack: str) -> dict[str, Any]:
    rounded = config.evaluate.round_images and attack != "clean"
    return _own_settings(config, attack) | ({"rounded": "8 bits"} if rounded else {})


def _own_settings(config: Config, attack: str) -> dict[str, Any]:
    if attack not in ATTACKS:
        return {}
    given, entry = config.evaluate, ATTACKS[attack]
    budget = budget_of(attack, given)
    if entry.references == GENERATED:
        gan = {f"prosgan_{key}" for key in ("width", "reconstruction", "rate")}
        found = {key: getattr(given, key) for key in sorted(gan)}
        found["prosgan_epochs"] = generator_epochs(given)
        found["prototype_steps"] = prototype_steps(given)
        return found | ({"epsilon": budget.epsilon} if entry.bounded else {})
    found = dataclasses.asdict(budget) | {"restarts": given.restarts}
    found["surrogate"] = found.pop("relaxation")  # its name in records and settings
    if entry.references == PROTOTYPE:
        found["prototype_steps"] = prototype_steps(given)
    if entry.black_box:
        found["queries_per_image"] = budget.steps * given.restarts
    return found


def retrieval_measures(scores: RetrievalScores) -> dict[str, Any]:
    """The measures of a record."""
    return {
        "map": scores.map,
        "map_interval": bootstrap_interval(scores.average_precision),
        "map_at": scores.top_k,
        "map_all": scores.map_all,
        "map_expected": scores.map_expected,
        "chance": scores.chance,
        "ceiling": scores.ceiling,
        "num_without_relevant": scores.num_queries_without_relevant,
        "tie_size": scores.tie_size,
        "precision_at": {
            "n": scores.precision_cutoffs.tolist(),
            "precision": scores.precision_at.tolist(),
        },
        "pr_curve": {
            "recall": scores.recall_levels.tolist(),
            "precision": scores.pr_curve.tolist(),
        },
    }


def change_measures(result: AttackResult, clean_codes: np.ndarray) -> dict[str, Any]:
    """How far images and bits were moved."""
    change = {"linf": float(result.linf.max()), "rmse": float(result.mse.mean() ** 0.5)}
    flipped = float((result.codes != clean_codes).mean())
    return {"perturbation": change, "bits_flipped": flipped}


def ensemble_measures(found: EnsembleResult) -> dict:
    """What is special about the worst case."""
    winning = found.worst.winning_attack
    shares = np.bincount(winning, minlength=len(ENSEMBLE)) / len(winning)
    return {
        "version": VERSION,
        "components": [
            {"attack": name, "map": found.map_per_attack[name], "share": float(share)}
            for name, share in zip(ENSEMBLE, shares, strict=True)
        ],
        "restarts": RESTARTS,
        "num_restarted": found.restarted,
        "queries_per_image": QUERIES,
    }


def comparison_measures(
    own: np.ndarray, others: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The worst case together with a run's other attacks.

    Args:
        own: average precision of each query under the ensemble.
        others: the same under other attacks, by name.
    """
    lowest = np.min([own, *others.values()], axis=0)
    return {"map_with_others": float(lowest.mean()), "others": list(others)}


def is_named(record: Mapping[str, Any], defense: str, attack: str, source=None) -> bool:
    """Whether a record is of this attack on this network."""
    named = record.get("defense"), record.get("attack"), record.get("source")
    return named == (defense, attack, source)


def is_of(record: Mapping[str, Any] | None, **digests: str) -> bool:
    """Whether a record is there and of these networks, as far as it says."""
    return record is not None and all(
        record.get(f"{name}_sha256", digest) == digest
        for name, digest in digests.items()
    )
