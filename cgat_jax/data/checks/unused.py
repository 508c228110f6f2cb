"""Settings that a data set does not use: refused, so that nobody relies on them."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError
from cgat_jax.data.sources.known import KNOWN

_DRAWN = ("num_queries", "num_database", "num_train")
_FILES = "the files say who is query, database and training image"
_FRACTIONS = ("query_fraction", "train_fraction")
_MADE = "its images are made, not read"
_UNUSED = {
    "photos": dict.fromkeys(("split", "splits"), "its split is the source's, or drawn"),
    "lists": dict.fromkeys(("split", "splits", *_DRAWN, "split_seed"), _FILES),
    "quickstart": {
        **dict.fromkeys(("root", "source"), _MADE),
        **dict.fromkeys(("split", "splits"), "its split is made of the sizes"),
        "enlarge": "its images all have data.image_size",
    },
}


def check_settings(settings: Data) -> None:
    """Finds that every setting that was changed is used by the data set.

    With a released split, the sizes may also be those of the paper's, which the
    configurations of the data sets have.

    Raises:
        DataError: a line for each that is not: its value, and why.
    """
    lines = _lines(settings, settings.name, _UNUSED.get(settings.name, {}))
    for key, number in zip(_FRACTIONS, ("num_queries", "num_train"), strict=True):
        if settings.name != "photos":
            lines += _lines(settings, settings.name, {key: f"data.{number} counts"})
        elif value := getattr(settings, number):
            lines += _lines(settings, f"{number}={value}", {key: "the number counts"})
    facts = KNOWN.get(settings.name)
    if facts is not None and facts.released is None:
        none = dict.fromkeys(("split", "splits"), "it has no released lists")
        lines += _lines(settings, settings.name, none)
    elif facts is not None and settings.split != "released":
        drawn = {"splits": "the split is drawn; data.split=released has it read"}
        lines += _lines(settings, f"split={settings.split}", drawn)
    elif facts is not None:
        paper = dict(zip(_DRAWN, facts.paper, strict=True))
        drawn = dict.fromkeys((*_DRAWN, "split_seed"), _FILES)
        lines += _lines(settings, "split=released", drawn, paper)
    if lines:
        raise DataError("\n".join(lines))


def check_undrawn(settings: Data) -> None:
    """As ``check_settings``, for photos whose source names the split.

    Raises:
        DataError: a setting of the drawing was changed.
    """
    unused = dict.fromkeys((*_DRAWN, *_FRACTIONS, "split_seed"), _FILES)
    lines = _lines(settings, "this source", unused, dict.fromkeys(_DRAWN, 0))
    if lines:
        raise DataError("\n".join(lines))


def _lines(
    settings: Data,
    user: str,
    unused: Mapping[str, str],
    allowed: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """A line on each of the settings that has neither its default nor what it may."""
    defaults = {field.name: field.default for field in dataclasses.fields(Data)}
    return [
        f"data.{key}={value} is not used with {user}: {why}; leave it out"
        for key, why in unused.items()
        if (value := getattr(settings, key)) not in (defaults[key], allowed.get(key))
    ]
