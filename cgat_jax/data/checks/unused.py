"""Settings that a data set does not use: refused, so that nobody relies on them."""

import dataclasses

from cgat_jax.config import Data
from cgat_jax.data.dataset import DataError

_FILES = "the files say who is query, database and training image"
_MADE = "its images are made, not read"
_UNUSED = {
    "lists": dict.fromkeys(
        (
            *("split", "splits", "num_queries", "num_train", "num_database"),
            "split_seed",
        ),
        _FILES,
    ),
    "quickstart": {
        **dict.fromkeys(("root", "source"), _MADE),
        **dict.fromkeys(("split", "splits"), "its split is made of the sizes"),
        "enlarge": "its images all have data.image_size",
    },
}


def check_settings(settings: Data) -> None:
    """Finds that every setting that was changed is used by the data set.

    Raises:
        DataError: a line for each that is not: its value, and why.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Data)}
    lines = [
        f"data.{key}={getattr(settings, key)} is not used with {settings.name}: {why}; "
        "leave it out"
        for key, why in _UNUSED.get(settings.name, {}).items()
        if getattr(settings, key) != defaults[key]
    ]
    if lines:
        raise DataError("\n".join(lines))
