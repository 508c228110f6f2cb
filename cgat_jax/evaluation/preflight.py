"""What is checked before a run is claimed: its settings, then its data."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import jax

from cgat_jax import sharding
from cgat_jax.attacks import BOUNDED_CODES, WORST_CASE, ordered_attacks
from cgat_jax.config import Config
from cgat_jax.data import check_sizes
from cgat_jax.data.dataset import Dataset
from cgat_jax.defenses import make_defense_step
from cgat_jax.errors import InputError
from cgat_jax.evaluation import other_runs
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.generators import check_generators
from cgat_jax.evaluation.references import attacked_rows, check_targets, needs_targets
from cgat_jax.processes import from_first, together
from cgat_jax.rng import device_stream
from cgat_jax.training.finished import check_finished
from cgat_jax.training.initial_state import (
    build_loss,
    build_network,
    check_pretrained,
    check_weights,
    empty_bank,
    fresh_weights,
    weights_file,
)
from cgat_jax.training.loop import epoch_steps
from cgat_jax.training.network_files import check_network, network_path
from cgat_jax.training.optimizer import make_optimizer, make_schedule


def check_settings(config: Config) -> None:
    """Builds every part that the settings name, so that a wrong one fails at once.

    Raises:
        InputError: all that is wrong, and what to do.
    """
    wrong: dict[str, None] = {}  # in order, each once
    for check in (
        _check_training,
        check_attacks,
        other_runs.check_sources,
        _check_start,
    ):
        try:
            check(config)
        except (ValueError, FileNotFoundError) as error:
            wrong.setdefault(str(error))
    if wrong:
        raise InputError("; ".join(wrong))


def _check_training(config: Config) -> None:
    loss, model = build_loss(config), build_network(config, config.model.bits)
    for name in ("backbone", "pretrain", "defense"):
        settings = getattr(config, name)
        schedule = make_schedule(settings, steps_per_epoch=1)
        tx = make_optimizer(settings, schedule)
        sharding.process_rows(settings.batch_size)
        if name != "backbone" and settings.batch_size < loss.min_batch:
            raise InputError(
                f"{config.loss.name} compares the images of a batch: set "
                f"{name}.batch_size to at least {loss.min_batch}"
            )
    make_defense_step(model, loss, tx, config.defense, 1)


def check_attacks(config: Config) -> None:
    """Finds that the attacks of the settings can be made as they say.

    Raises:
        ValueError: which cannot, and why.
    """
    sharding.process_rows(config.evaluate.batch_size)
    for attack in ordered_attacks(config.evaluate.attack_list):
        if attack != WORST_CASE:
            budget_of(attack, config.evaluate)
        if config.evaluate.surrogate == "logits" and attack in BOUNDED_CODES:
            raise InputError(
                f"evaluate.surrogate: {attack} compares codes of about 1, so it takes "
                "tanh or unit, not logits"
            )
    if WORST_CASE in ordered_attacks(config.evaluate.transfer_list):
        raise InputError(f"evaluate.transfer: {WORST_CASE} is no single attack")
    names = (*config.evaluate.attack_list, *config.evaluate.transfer_list)
    if any(name.startswith("prosgan") for name in names):
        check_generators(config)


def _check_start(config: Config) -> None:
    model = build_network(config, config.model.bits)
    jax.eval_shape(functools.partial(fresh_weights, model, config))
    file = network_path(Path(config.pretrained)) if config.pretrained else None
    if file is not None:
        check_network(file, config)
    elif config.pretrained:
        check_pretrained(config)
    else:
        check_weights(model, config)


def check_data(config: Config, dataset: Dataset) -> None:
    """Finds what cannot work on these data before anything is trained.

    Raises:
        InputError: images are too small, or the loss, a stage or an attack cannot use
            the data; what to do about it.
    """
    check_sizes(dataset, config.data.crop_size)
    for settings in (config.backbone, config.pretrain, config.defense):
        if settings.epochs:
            epoch_steps(dataset, settings)
    bank = empty_bank(dataset, config.model.bits)
    build_loss(config).init(device_stream(config.seed, "loss"), bank)
    attacked_rows(config, dataset)
    check_other_runs(config, dataset)
    if needs_targets(config):
        check_targets(config, dataset)


def check_other_runs(config: Config, dataset: Dataset) -> None:
    """Finds that the runs whose networks are used are finished, and of these data.

    Raises:
        InputError: which is not.
    """
    runs = {"evaluate.sources": list(other_runs.source_workdirs(config).values())}
    runs["pretrained"] = [Path(config.pretrained)] if config.pretrained else []
    for name, folders in runs.items():
        for folder in folders:
            other_runs.check_same_data(folder, name, dataset)
            if name == "pretrained" and network_path(folder) is not None:
                continue  # a file is of a finished stage
            stages = {"pretrain": config.pretrain}
            if name != "pretrained":
                other = other_runs.read_config(folder)
                stages = {"defend": other.defense}
                if not other.pretrained:
                    stages["pretrain"] = other.pretrain
            for stage, settings in stages.items():
                if settings.epochs:
                    total = settings.epochs * epoch_steps(dataset, settings)
                    check_finished(folder, stage, total)


def check_same(dataset: Dataset) -> None:
    """Finds that all processes of a run see the same data.

    Raises:
        InputError: this one sees others than the first.
    """
    first = from_first(lambda: dataset.digest.whole)
    with together():
        if dataset.digest.whole != first:
            raise InputError(
                "data.root: this process sees other data than the first one: give a "
                "folder that is the same on all hosts"
            )


def made_of(config: Config, dataset: Dataset) -> dict[str, Any]:
    """Digests of what a run is made of: the data, and the weights to start from."""
    found: dict[str, Any] = {"data": dataset.digest.to_json()}
    path = weights_file(config)
    if path is not None and not config.pretrained:
        with path.open("rb") as file:
            found["weights"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
