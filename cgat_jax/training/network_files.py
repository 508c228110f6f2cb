"""The networks of a run as files: written after each stage, and started from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from cgat_jax.config import Config
from cgat_jax.config.settings import Change, changed_settings, to_json
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.files.io import read_sealed, remove_partials, set_aside
from cgat_jax.models.network_file import (
    NETWORK_FILE,
    SUFFIX,
    StoredNetwork,
    new_card,
    read_card,
    read_network,
    write_network,
)
from cgat_jax.processes import from_first
from cgat_jax.rng import device_stream
from cgat_jax.training.checkpoint import digest_of
from cgat_jax.training.initial_state import build_loss, empty_bank, has_weights_of
from cgat_jax.types import PyTree, TrainState
from cgat_jax.workdir import CONFIG_FILE, shares_pretraining

Network = tuple[PyTree, PyTree]
Keep = Callable[[str, Network, TrainState], None]


def stage_file(workdir: Path, stage: str) -> Path:
    """Where a run leaves the network of a stage, ``pretrain`` or ``defend``."""
    return workdir / stage / NETWORK_FILE


def network_path(path: Path) -> Path | None:
    """The file of a network, where a path is one or a folder with one; None: a run's.

    A file need not exist, so that an error can name it.
    """
    if path.suffix == SUFFIX or path.is_file():
        return path
    file = path / NETWORK_FILE
    is_run = (path / CONFIG_FILE).is_file()
    return file if file.is_file() and not is_run else None


def defense_of(config: Config, stage: str) -> str:
    """What defends the network of a stage: ``none`` after pretraining."""
    return "none" if stage == "pretrain" else config.defense.name


def run_card(
    config: Config, stage: str, network: Network, known: dict[str, Any]
) -> dict[str, Any]:
    """The card of a network that a run has trained.

    Args:
        config: the run's settings.
        stage: ``pretrain`` or ``defend``.
        network: its parameters and statistics.
        known: of the data (``dataset``, ``classes``, ``data_sha256``, ``split``,
            ``split_sha256``), and versions, device and commit, as far as it is known.
    """
    data, model = config.data, config.model
    return new_card(
        backbone=model.name,
        bits=model.bits,
        dtype=model.dtype,
        dropout=model.dropout,
        image_size=data.image_size,
        crop_size=data.crop_size,
        enlarge=data.enlarge,
        loss=config.loss.name,
        defense=defense_of(config, stage),
        stage=stage,
        config=json.loads(to_json(config)),
        network_sha256=digest_of(network),
        **known,
    )


def network_keeper(
    config: Config, dataset: Dataset, workdir: Path, made_with: dict[str, Any]
) -> Keep:
    """``keep(stage, network, state)`` leaves the file of a finished stage's network.

    A file that is there and whole, of this very network, stays as it is; any other is
    set aside. The first process writes for all.

    Args:
        config: the run's settings.
        dataset: its data.
        workdir: ours.
        made_with: versions, device and commit, for the card.
    """
    known = {
        "dataset": dataset.name,
        "classes": list(dataset.class_names),
        "data_sha256": dataset.digest.whole if dataset.digest else "",
        "split": dataset.split.name,
        "split_sha256": dataset.split.sha256,
        **made_with,
    }

    def keep(stage: str, network: Network, state: TrainState) -> None:
        params, stats = jax.device_get(network)
        card = run_card(config, stage, (params, stats), known)
        loss = {"loss": state.params["loss"], "constants": state.constants}
        stored = StoredNetwork(params, stats, card, jax.device_get(loss))
        from_first(lambda: _leave(stage_file(workdir, stage), stored))

    return keep


def _leave(path: Path, stored: StoredNetwork) -> None:
    if not _is_kept(path, stored.card["network_sha256"]):
        remove_partials(path.parent, [NETWORK_FILE])
        write_network(path, stored)


def _is_kept(path: Path, digest: str) -> bool:
    """Whether a file is there and whole, and of this network; else it is set aside."""
    if not path.is_file():
        return False
    try:
        found = read_network(path).card.get("network_sha256")
        why: object = "it is another network"
    except InputError as error:
        found, why = None, error
    if found != digest:
        set_aside(path, why)
    return found == digest


def check_network(path: Path, config: Config) -> None:
    """Finds that a file's network can be what a run defends; reads all of it.

    Raises:
        InputError, FileNotFoundError: it is damaged, or of another backbone, code
            length, image size or loss; the message lists what differs.
    """
    card, data = read_network(path).card, config.data
    ours = {
        "model.name": (card["backbone"], config.model.name),
        "model.bits": (card["bits"], config.model.bits),
        "data.image_size": (card["image_size"], data.image_size),
        "data.crop_size": (card["crop_size"], data.crop_size),
        "data.enlarge": (card["enlarge"], data.enlarge),
    }
    wrong = [Change(key, *both) for key, both in ours.items() if both[0] != both[1]]
    if theirs := card.get("config", {}).get("loss"):
        loss = json.loads(to_json(config))["loss"] | {"redraw": False}
        wrong += changed_settings({"loss": theirs | {"redraw": False}}, {"loss": loss})
    if wrong:
        raise InputError(
            f"pretrained: {path} is a network with other settings "
            f"({'; '.join(map(str, wrong))})"
        )


def given_digest(source: Path, network: Network) -> str:
    """Digest of what a run takes from elsewhere: a run's network, or all of a file."""
    file = network_path(source)
    return digest_of(network) if file is None else read_card(file)["arrays_sha256"]


def given_defense(source: Path) -> str:
    """What defends the network that a run takes from elsewhere: ``none`` or a name."""
    file = network_path(source)
    return "none" if file is None else read_card(file)["defense"]


def state_from_file(path: Path, config: Config, dataset: Dataset) -> TrainState:
    """What the defense starts from, as if it were the last state of pretraining.

    The parameters and constants of the loss are the file's; where it has none, they are
    drawn as pretraining draws them. The bank is empty: the defense fills its own.

    Raises:
        InputError, FileNotFoundError: the file is damaged, or of another network.
    """
    params, stats, _, kept = read_network(path)
    bank = empty_bank(dataset, config.model.bits)
    key = device_stream(config.seed, "loss")
    loss_params, constants = build_loss(config).init(key, bank)
    of_loss = {"loss": loss_params, "constants": constants}
    if kept:
        wanted, found = (flatten_dict(x, sep="/") for x in (of_loss, kept))
        shapes = [{key: x[key].shape for key in x} for x in (wanted, found)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{path}: its state of the loss is not one of {config.loss.name} on "
                "these data"
            )
        of_loss |= jax.tree.map(jnp.asarray, kept)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params={"model": params, "loss": of_loss["loss"]},
        stats=stats,
        constants=of_loss["constants"],
        bank=bank,
        opt_state=(),
    )


def check_pretrained(config: Config) -> None:
    """Whether the run whose network is defended had the same settings.

    Weights in a file are compared by what it holds, wherever it lies.

    Raises:
        InputError: it had others; the message lists them.
    """
    folder = Path(config.pretrained)
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"pretrained: {folder / CONFIG_FILE} does not exist; give a run's workdir "
            "or a network.safetensors"
        )
    old, new = read_sealed(folder / CONFIG_FILE), json.loads(to_json(config))
    if old.get("pretrained"):
        raise InputError(f"pretrained: {folder} has no pretrained network itself")
    different = [
        str(change)
        for change in changed_settings(old, new)
        if shares_pretraining(change.key) and not has_weights_of(folder, change)
    ]
    if different:
        raise InputError(
            f"pretrained: {folder} was trained with other settings "
            f"({'; '.join(different)})"
        )
