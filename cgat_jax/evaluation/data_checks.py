"""What is checked of a run's data before it is claimed, and what it is made of."""

from functools import partial
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from cgat_jax.config import Config
from cgat_jax.data import check_sizes
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError, check_all
from cgat_jax.evaluation import other_runs
from cgat_jax.evaluation.references import attacked_rows, check_targets, needs_targets
from cgat_jax.files.io import file_digest
from cgat_jax.processes import from_first, together
from cgat_jax.rng import device_stream
from cgat_jax.training.finished import check_finished
from cgat_jax.training.initial_state import build_loss, empty_bank, weights_file
from cgat_jax.training.loop import epoch_steps
from cgat_jax.training.network_files import given_digest, network_path
from cgat_jax.training.stages import pretrained_networks


def check_data(config: Config, dataset: Dataset) -> None:
    """Finds what cannot work on these data before anything is trained.

    Raises:
        InputError: images are too small, the loss, a stage or an attack cannot use the
            data: all that is wrong, and what to do about it.
    """
    bank = empty_bank(dataset, config.model.bits)
    loss, key = build_loss(config), device_stream(config.seed, "loss")
    stages = (config.backbone, config.pretrain, config.defense)
    checks = [
        partial(check_sizes, dataset, config.data.crop_size),
        *(partial(epoch_steps, dataset, s) for s in stages if s.epochs),
        partial(loss.init, key, bank),
        partial(attacked_rows, config, dataset),
        partial(check_other_runs, config, dataset),
    ]
    if needs_targets(config):
        checks.append(partial(check_targets, config, dataset))
    check_all(checks)


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


def made_of(config: Config, dataset: Dataset, mesh: Mesh) -> dict[str, Any]:
    """Digests of what a run is made of: data, and weights or a network to start from.

    Raises:
        InputError: the network that it defends is not finished, damaged, or another's.
    """
    found: dict[str, Any] = {"data": dataset.digest.to_json()}
    path = weights_file(config)
    if config.pretrained:
        [network] = pretrained_networks(config, dataset, mesh).values()
        found["pretrained"] = given_digest(Path(config.pretrained), network)
    elif path is not None:
        found["weights"] = file_digest(path)
    return found
