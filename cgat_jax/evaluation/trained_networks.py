"""Trained networks read back: from a run's workdir, a folder, or a file."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import unflatten_dict

from cgat_jax.config import Config
from cgat_jax.data.loader import steps_per_epoch
from cgat_jax.errors import DamagedFileError, InputError, lookup
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.other_runs import read_config
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.files.ownership import kind_of
from cgat_jax.models.network_file import (
    NETWORK_FILE,
    network_shapes,
    read_card,
    read_network,
)
from cgat_jax.models.weights import fit_arrays
from cgat_jax.training import checkpoint
from cgat_jax.training.network_files import (
    defense_of,
    network_path,
    run_card,
    stage_file,
)
from cgat_jax.workdir import CONFIG_FILE, data_digests
from cgat_jax.zoo import zoo_folder, zoo_names

RECORDS_FILE = "network.json"
"""Beside a ``network.safetensors`` of a run: what was measured on it."""
STAGES = ("pretrain", "defend")
_AGAIN = "run that run's command again"


def load_network(path: str | os.PathLike, defense: str | None = None) -> Network:
    """A trained hashing network, ready to encode images or to be attacked.

    >>> import tempfile, jax, jax.numpy as jnp
    >>> from cgat_jax import Network, load_network
    >>> from cgat_jax.models.network_file import make_network, new_card
    >>> card = new_card(backbone="small", bits=16, image_size=36, crop_size=32)
    >>> init = jax.jit(make_network(card).init)
    >>> weights = init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Network(*weights, card).save(f"{folder}/mine.safetensors")
    ...     load_network(file)
    Network(small, 16 bits, images of 32 pixels, defense 'none')

    Args:
        path: a run's workdir, a folder that ``Network.save`` wrote (or a stage's folder
            in a workdir), a ``.safetensors`` file with a card, or, where there is no
            such path, the name of a network of ``cgat_jax.zoo``.
        defense: which network of the path: ``"none"`` or a defense's name. A run with
            several networks needs it: none of them is taken for the obvious one.

    Raises:
        FileNotFoundError: there is nothing at the path.
        DamagedFileError: a file is not as it was written.
        InputError: nothing there is a trained network, or not that one; the message
            says what there is, or what to do.
    """
    path = Path(path)
    if (file := network_path(path)) is not None:
        return _from_file(file, defense)
    if not path.exists():
        if (folder := zoo_folder(str(path))) is not None:
            return _from_file(folder / NETWORK_FILE, defense)
        known = ", ".join(zoo_names())
        raise FileNotFoundError(
            f"no network: {path} does not exist, and is none of the zoo ({known})"
        )
    if not (path / CONFIG_FILE).is_file() and kind_of(path) != "run":
        raise InputError(
            f"{path}: holds no network; expected a run's workdir, a folder of "
            "Network.save, or a .safetensors file"
        )
    config = read_config(path)
    stage = _stage_of(path, config, defense)
    if stage_file(path, stage).is_file():
        return _from_file(stage_file(path, stage), defense_of(config, stage))
    return _from_checkpoints(path, config, stage)


def note_records(workdir: Path, records: list[dict[str, Any]]) -> None:
    """Leaves beside each network of a run what was measured on it.

    Args:
        workdir: ours; its stages are finished.
        records: as in ``results.json``; those of other networks are left out.
    """
    for stage in STAGES:
        file = stage_file(workdir, stage)
        if not file.is_file():
            continue
        digest, path = read_card(file)["network_sha256"], file.with_name(RECORDS_FILE)
        content = {"network_sha256": digest, "records": _of(digest, records)}
        with contextlib.suppress(OSError, DamagedFileError):  # then it is written anew
            if read_sealed(path) == content:
                continue
        write_sealed(path, content)


def _of(digest: str, records: list[Any]) -> list[dict[str, Any]]:
    return [
        record
        for record in records
        if isinstance(record, dict) and record.get("network_sha256") == digest
    ]


def _stage_of(workdir: Path, config: Config, defense: str | None) -> str:
    """The stage of a run that trains the network that is asked for."""
    found = {} if config.pretrained else {"none": "pretrain"}
    if config.defense.epochs:
        found[config.defense.name] = "defend"
    if defense is None and len(found) == 1:
        return next(iter(found.values()))
    if defense is None:
        names = " or ".join(f"defense={name!r}" for name in found)
        raise InputError(f"{workdir}: holds several networks; choose one with {names}")
    if defense == "none" and config.pretrained:
        raise InputError(
            f"{workdir}: its undefended network is the one of {config.pretrained}"
        )
    try:
        return lookup("network of this run", defense, found)
    except InputError as error:
        raise InputError(f"{workdir}: {error}") from error


def _from_file(path: Path, defense: str | None) -> Network:
    """A file's network; the records beside it count, if they are of this one."""
    params, stats, card, loss_state = read_network(path)
    if defense not in (None, card["defense"]):
        raise InputError(
            f"{path}: its network is of defense {card['defense']!r}, not {defense!r}"
        )
    if records := _records(path.with_name(RECORDS_FILE), card["network_sha256"]):
        card = card | {"records": records}
    return Network(params, stats, card, loss_state)


def _records(path: Path, digest: str) -> list[dict[str, Any]]:
    """The records of a network in a file of records, if there is one."""
    if not path.is_file():
        return []
    records = read_sealed(path).get("records")
    return _of(digest, records if isinstance(records, list) else [])


def _from_checkpoints(workdir: Path, config: Config, stage: str) -> Network:
    """The network of a finished stage of a run that left no file of it.

    Raises:
        InputError: the stage is not finished, or its checkpoints are damaged.
    """
    arrays = _last_state(workdir, config, stage)
    ema = stage == "defend" and config.defense.ema
    prefixes = ("ema.0.", "ema.1.") if ema else ("params.model.", "stats.")
    stored = _part(arrays, prefixes[0]) | _part(arrays, prefixes[1])
    shapes = network_shapes(run_card(config, stage, ({}, {}), {}))
    network = fit_arrays(workdir / stage / "checkpoints", stored, *shapes)
    of_loss = {"loss": "params.loss.", "constants": "constants."}
    loss_state = {
        key: unflatten_dict(found, sep="/")
        for key, prefix in of_loss.items()
        if (found := _part(arrays, prefix))
    }
    card = run_card(config, stage, network, _known(workdir, config))
    card["records"] = _records(workdir / "results.json", card["network_sha256"])
    return Network(*network, card, loss_state)


def _last_state(workdir: Path, config: Config, stage: str) -> dict[str, jax.Array]:
    """All arrays of the last checkpoint of a stage, by their dotted names."""
    folder, arrays = workdir / stage / "checkpoints", None
    if folder.is_dir():
        opened = checkpoint.open_checkpoints(folder, read_only=True)
        with contextlib.closing(opened) as manager:
            like = checkpoint.stored_shapes(manager)
            arrays = checkpoint.restore_latest(manager, like, mend=False)
    if not arrays:
        raise InputError(f"{workdir}: its stage {stage} is not finished: {_AGAIN}")
    settings = config.pretrain if stage == "pretrain" else config.defense
    total = settings.epochs * steps_per_epoch(
        len(arrays["bank.labels"]), settings.batch_size, drop_last=settings.drop_last
    )
    if (step := int(arrays["step"])) < total:
        raise InputError(
            f"{workdir}: its stage {stage} is at step {step} of {total}: {_AGAIN}"
        )
    return arrays


def _part(arrays: dict[str, jax.Array], prefix: str) -> dict[str, jax.Array]:
    """The arrays whose names begin with a prefix, by their keys as in a file."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix).replace(".", "/"): arrays[name] for name in names}


def _known(workdir: Path, config: Config) -> dict[str, Any]:
    """What a run's folder tells of its data: digests, but no names of classes."""
    known = {"dataset": config.data.name}
    if data := data_digests(workdir):
        known |= {"data_sha256": data["whole"], "split_sha256": data["split"]}
    return known
