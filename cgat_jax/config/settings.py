"""What is done with settings: listed, checked, compared."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from cgat_jax.config import Config
from cgat_jax.errors import InputError, nearest, typed
from cgat_jax.files.io import parse_json, unsealed

ABSENT = "(absent)"


def settings(config: Config) -> Iterator[tuple[str, Any, str]]:
    """Yields (dotted key, value, help text) of every setting, in order."""
    for key, value, metadata in _fields(config):
        yield key, value, metadata["help"]


def free_settings() -> frozenset[str]:
    """Keys of the settings that affect no result: a run may go on with other values."""
    found = _fields(Config())
    return frozenset(k for k, _, metadata in found if not metadata["affects_results"])


def to_json(config: Config) -> str:
    """The configuration as JSON text, one setting a line."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str, name: object = "configuration") -> Config:
    """The configuration that ``to_json`` wrote; settings it lacks get their defaults.

    Args:
        text: JSON, with or without the digest of a run's ``config.json``.
        name: what errors call it.

    Raises:
        InputError: it is no JSON object, or has a setting that is not known.
    """
    config, values = Config(), unsealed(parse_json(text, name), name)
    if isinstance(data := values.get("data"), dict) and data.get("name") == "lists":
        config.data.enlarge = False  # lists were not, before there was a setting
    try:
        _fill(config, values, "")
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return config


def _fill(part: Any, values: Any, prefix: str) -> None:
    known = {field.name for field in dataclasses.fields(part)}
    if not isinstance(values, dict):
        raise InputError(f"{prefix or 'configuration'}: expected an object")
    for key, value in values.items():
        if key not in known:
            raise InputError(f"unknown setting {prefix}{key}{nearest(key, known)}")
        if dataclasses.is_dataclass(getattr(part, key)):
            _fill(getattr(part, key), value, f"{prefix}{key}.")
        else:
            setattr(part, key, typed(f"{prefix}{key}", value, getattr(part, key)))


def config_digest(config: Config) -> str:
    """Digest of the settings that decide results; the free ones are left out."""
    kept = {k: v for k, v, _ in settings(config) if k not in free_settings()}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


class Change(NamedTuple):
    """A setting that differs between two configurations; prints as one clause."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} -> {self.new!r}"


def changed_settings(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The settings that differ between two configurations, as JSON objects.

    A setting that one of them lacks, being younger than it, has its default there; but
    lists were never enlarged before there was ``data.enlarge``.
    """
    before, after = _completed(old), _completed(new)
    keys = [*before, *(key for key in after if key not in before)]
    changes = [Change(k, before.get(k, ABSENT), after.get(k, ABSENT)) for k in keys]
    return [change for change in changes if change.old != change.new]


def is_moved_file(change: Change) -> bool:
    """Whether a change is of where weights, or what is defended, lies.

    Such are compared by what they hold.
    """
    no_file = {"", "packed", "random", ABSENT}
    moves = {"model.weights", "pretrained"}
    return change.key in moves and not {change.old, change.new} & no_file


def deciding_changes(old: dict[str, Any], config: Config) -> list[Change]:
    """What decides results in a configuration and is not as in an older one's JSON."""
    changes = changed_settings(old, json.loads(to_json(config)))
    return [change for change in changes if change.key not in free_settings()]


def _completed(nested: dict[str, Any]) -> dict[str, Any]:
    given, full = _flat(nested), {key: value for key, value, _ in _fields(Config())}
    if given.get("data.name") == "lists":
        full["data.enlarge"] = False
    return full | given


def validate(config: Config) -> None:
    """Checks words and ranges that no type expresses.

    Raises:
        InputError: names every wrong setting, what is allowed and what came.
    """
    wrong = [
        f"{key}: expected {expected}, got {value!r}"
        for key, value, metadata in _fields(config)
        if (expected := _expected(value, metadata))
    ]
    if config.data.crop_size > config.data.image_size:
        sizes = f"{config.data.crop_size} > {config.data.image_size}"
        wrong.append(f"data.crop_size exceeds data.image_size: {sizes}")
    if wrong:
        raise InputError("; ".join(wrong))


def _expected(value: Any, metadata: Any) -> str:
    """What a setting allows, where its value is something else."""
    choices, (low, high) = metadata["choices"], metadata["bounds"]
    if choices and value not in choices:
        return f"one of {choices}"
    if isinstance(value, bool | str) or (low <= value <= high and value != math.inf):
        return ""
    limit = f"up to {high}" if high < math.inf else "on"
    return f"a number from {low} {limit}"


def _fields(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _fields(value, key + ".")
        else:
            yield key, value, field.metadata


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
