"""Networks of other runs, for images that are made on one and tried on another."""

import json
from collections.abc import Iterator
from pathlib import Path

from jax.sharding import Mesh

from cgat_jax.config import Config
from cgat_jax.config.settings import changed_settings, free_settings, from_json, to_json
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.evaluation.attack_runner import Network
from cgat_jax.files.io import read_sealed
from cgat_jax.models.network_file import read_card
from cgat_jax.training import stages
from cgat_jax.training.initial_state import build_network
from cgat_jax.training.network_files import network_path
from cgat_jax.types import HashModel
from cgat_jax.workdir import CONFIG_FILE, data_of


def source_workdirs(config: Config) -> dict[str, Path]:
    """The workdirs of ``evaluate.sources`` by their folders' names.

    Raises:
        InputError: two of them have the same name.
    """
    found: dict[str, Path] = {}
    for path in map(Path, config.evaluate.source_list):
        if path.name in found:
            raise InputError(
                f"evaluate.sources: two folders are named {path.name!r}: rename one, "
                "records tell them apart by it"
            )
        found[path.name] = path
    return found


def read_config(workdir: Path) -> Config:
    """The configuration of a run.

    Raises:
        InputError: the workdir has none, or one that is damaged.
    """
    path = workdir / CONFIG_FILE
    if not path.is_file():
        raise InputError(f"{workdir}: no {CONFIG_FILE}, so no run: check the folder")
    return from_json(json.dumps(read_sealed(path)), path)


def check_same_data(workdir: Path, name: str, dataset: Dataset) -> None:
    """Finds that another run's networks were trained on these data.

    Args:
        workdir: of that run, or the file of a network; one that notes no data (of an
            earlier version, or from elsewhere) is taken.
        name: of the setting that names it.
        dataset: of this run.

    Raises:
        InputError: they were trained on others.
    """
    file = network_path(workdir)
    of = data_of(workdir) if file is None else read_card(file).get("data_sha256")
    if of and of != dataset.digest.whole:
        raise InputError(
            f"{name}: {workdir} was made of other data (labels, images or split) than "
            "these: train it again on these, in another folder"
        )


def check_sources(config: Config) -> None:
    """Refuses sources that are no runs on the same data.

    Raises:
        InputError: which, and what differs.
    """
    for workdir in source_workdirs(config).values():
        other = read_config(workdir)
        theirs, ours = (json.loads(to_json(c)) for c in (other, config))
        changed = [
            str(change)
            for change in changed_settings(theirs, ours)
            if change.key.startswith("data.") and change.key not in free_settings()
        ]
        if changed:
            raise InputError(
                f"evaluate.sources: {workdir} has other data ({'; '.join(changed)}): "
                "images must be of the same queries"
            )


def other_networks(
    config: Config, dataset: Dataset, mesh: Mesh
) -> Iterator[tuple[str, HashModel, Network]]:
    """Yields the networks of other runs that images are made on, with their names.

    They are the pretrained network of the run that this one starts from, where there
    are transfers or sanity checks, and all networks of ``evaluate.sources``.

    Args:
        config: of this run.
        dataset: its data, which the others were trained on.
        mesh: the devices.

    Raises:
        ValueError: a run has not finished training.
    """
    settings = config.evaluate
    runs = source_workdirs(config)
    if config.pretrained and (settings.sanity_queries or settings.transfer):
        found = stages.pretrained_networks(config, dataset, mesh)
        yield from _named("pretrained", config, found)
    for name, folder in runs.items():
        other = read_config(folder)
        found = stages.finished(other, dataset, mesh, folder)
        yield from _named(name, other, found)


def _named(
    name: str, config: Config, networks: dict[str, Network]
) -> Iterator[tuple[str, HashModel, Network]]:
    """The trained networks of a run, as ``name.defense``."""
    model = build_network(config, config.model.bits)
    for defense, network in networks.items():
        yield f"{name}.{defense}", model, network
