"""The folder of a run: whose it is, and what it was made of.

A workdir belongs to one configuration and to what it was made of: the data, the weights
to start from, another run's network. Both are written when everything has been checked
and before anything is trained, and nothing else goes on in it.
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from cgat_jax.config import Config
from cgat_jax.config.settings import (
    config_digest,
    deciding_changes,
    free_settings,
    is_moved_file,
    to_json,
)
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.io import (
    SEAL,
    parse_json,
    read_json,
    read_sealed,
    seal_of,
    set_aside,
    write_sealed,
    write_text,
)
from cgat_jax.files.ownership import check_folder, claim_folder

_log = logging.getLogger(__name__)
CONFIG_FILE, INPUTS_FILE = "config.json", "inputs.json"
GIVEN_FILE = "pretrained_file"
"""Key of the digest of a network that was given as a file: nobody's other seed."""
STREAMS = 2
"""Version of the random streams (``cgat_jax.rng``); 1 had no names."""
# What a run makes; an empty folder of checkpoints is nothing yet.
_MADE = (
    *("*/checkpoints/[0-9]*", "prosgan/*/*/[0-9]*", "backbone.safetensors"),
    *("pretrain/network.*", "defend/network.*"),  # .safetensors, .json
    *("codes/*/*.npy", "targets.npy", "evaluate/*/*.json", "results.json"),
)
_UNKNOWN = "what the run was made of is not known: choose another --workdir"
_SECTIONS = {"data", "model", "loss", "pretrain", "defense", "evaluate"}
# What two runs that share a pretrained network must agree on.
_PRETRAINING = ("data.", "model.", "backbone.", "pretrain.", "loss.", "seed")


def shares_pretraining(key: str) -> bool:
    """Whether a setting decides what the pretrained network is."""
    free = free_settings() | {"loss.redraw"}
    return key.startswith(_PRETRAINING) and key not in free


def is_run(folder: Path) -> bool:
    """Whether a folder without a mark is a run of an earlier version."""
    try:
        return read_json(folder / CONFIG_FILE).keys() >= _SECTIONS
    except (OSError, DamagedFileError):
        return False


def is_trained(workdir: Path) -> bool:
    """Whether a run's networks are trained: it has begun to measure them."""
    return any(workdir.glob("evaluate/*/record.json"))


def has_begun(workdir: Path) -> bool:
    """Whether a run has made anything yet."""
    return any(any(workdir.glob(pattern)) for pattern in _MADE)


def check_workdir(workdir: Path, config: Config) -> None:
    """Finds that a run with this configuration may go on in a folder; writes nothing.

    Raises:
        ForeignFilesError: the folder holds something else.
        InputError: it holds a run with other settings; the message lists them.
        DamagedFileError: what its settings were is not known any more.
    """
    check_folder(workdir, "run", is_own=is_run)
    if not has_begun(workdir):
        return
    path = workdir / CONFIG_FILE
    try:
        old = read_sealed(path)
        _check_keys(old, path)
    except (DamagedFileError, FileNotFoundError) as error:
        if _inputs(workdir).get("config_sha256") == config_digest(config):
            return  # it is the same one: written again
        raise DamagedFileError(
            f"{path}: damaged or missing: what the run's settings were is not known; "
            "give it back, or choose another --workdir"
        ) from error
    noted = _inputs(workdir).keys() | ({"weights"} if config.pretrained else set())
    changed = [
        change  # but of a place alone: remember compares what lies there
        for change in deciding_changes(old, config)
        if not (is_moved_file(change) and change.key.removeprefix("model.") in noted)
    ]
    if changed:
        raise InputError(
            f"{workdir} holds a run with another configuration "
            f"({'; '.join(map(str, changed))}): choose another --workdir or the old "
            "settings"
        )


def _check_keys(content: dict[str, Any], path: Path) -> None:
    """Finds that a configuration has no other parts than ours.

    Raises:
        DamagedFileError: it has; a flipped bit in a name is no other setting.
    """
    known = {field.name for field in dataclasses.fields(Config)}
    if unknown := sorted(content.keys() - known):
        raise DamagedFileError(f"{path}: damaged, it has a part {unknown[0]!r}")


def claim_workdir(workdir: Path) -> bool:
    """Marks a folder that ``check_workdir`` has passed; whether it was new."""
    return claim_folder(workdir, "run", is_own=is_run)


def remember(workdir: Path, config: Config, made_of: dict[str, Any]) -> None:
    """Notes the configuration and what the run is made of, or finds them the same.

    A run of an earlier version that has been trained is taken over with the data that
    its records name.

    Args:
        workdir: ours.
        config: checked.
        made_of: ``data`` (a dictionary of digests) and others, each a digest.

    Raises:
        InputError: it was made of something else; says of what.
    """
    path, begun = workdir / CONFIG_FILE, has_begun(workdir)
    known = _inputs(workdir) if begun else {}
    streams = known.get("streams", STREAMS)
    if begun and _is_of_earlier_version(path):
        _check_earlier(workdir, made_of["data"]["split"])
        _log.warning(
            "%s is of an earlier version, which noted no contents of its data: that "
            "labels and images are still the same is not checked",
            workdir,
        )
        streams = 1
    elif begun and not known:
        raise DamagedFileError(f"{workdir / INPUTS_FILE}: missing; {_UNKNOWN}")
    for key, value in made_of.items():
        if key in known:
            _check_same(workdir, key, known[key], value)
    fixed = {"streams": streams, "config_sha256": config_digest(config)}
    if not known.items() >= (fixed | made_of).items():
        write_sealed(workdir / INPUTS_FILE, known | fixed | made_of)
    _write_config(path, config)


def _write_config(path: Path, config: Config) -> None:
    if path.is_file():
        try:
            read_sealed(path)
        except DamagedFileError as error:
            set_aside(path, error)
    content = parse_json(to_json(config), path)
    sealed = content | {SEAL: seal_of(content)}
    write_text(path, json.dumps(sealed, indent=2) + "\n")


def remembered(workdir: Path, key: str) -> str | None:
    """A digest that was noted, if it was."""
    return _inputs(workdir).get(key)


def data_of(workdir: Path) -> str | None:
    """The digest of the data that another run was made of, if it notes it."""
    return data_digests(workdir).get("whole")


def data_digests(workdir: Path) -> dict[str, str]:
    """Digests of the parts of the data that a run was made of; empty: not noted."""
    return _inputs(workdir).get("data", {})


def remember_network(workdir: Path, key: str, digest: str) -> None:
    """Notes a network that a run is made of, or finds it the same.

    Raises:
        InputError: it is another one now.
    """
    known = _inputs(workdir)
    if key in known:
        _check_same(workdir, key, known[key], digest)
    else:
        write_sealed(workdir / INPUTS_FILE, known | {key: digest})


def streams_of(workdir: Path) -> int:
    """Version of the random streams that a run was begun with."""
    return _inputs(workdir).get("streams", STREAMS)


def _inputs(workdir: Path) -> dict[str, Any]:
    path = workdir / INPUTS_FILE
    try:
        return read_sealed(path) if path.is_file() else {}
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; {_UNKNOWN}") from error


def _check_same(workdir: Path, key: str, old: Any, new: Any) -> None:
    if old == new:
        return
    what = {"weights": "weights file", "pretrained": "pretrained network"}.get(key, key)
    if isinstance(old, dict):
        parts = [part for part in old if old[part] != new.get(part) and part != "whole"]
        what = f"{key} ({', '.join(parts).replace('_', ' ')} differ)"
    raise InputError(
        f"{workdir} was made of other {what}: choose another --workdir, or give back "
        "what it was made of"
    )


def _is_of_earlier_version(path: Path) -> bool:
    """Whether a configuration is one without a digest."""
    try:
        return SEAL not in read_json(path)
    except (DamagedFileError, FileNotFoundError):
        return False


def _check_earlier(workdir: Path, split: str) -> None:
    """Finds that a run of an earlier version can be taken over."""
    if not is_trained(workdir):
        raise InputError(
            f"{workdir} was begun by an earlier version with other random streams: "
            "finish it with that version, or choose another --workdir"
        )
    for path in sorted(workdir.glob("evaluate/*/record.json")):
        if read_sealed(path).get("split_sha256") not in (None, split):
            raise InputError(
                f"{workdir} was made of other data (the split of {path} differs): "
                "choose another --workdir, or give back the data"
            )
