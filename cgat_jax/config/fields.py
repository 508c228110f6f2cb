"""A setting: its default, its help text, what it allows, whether it affects results."""

import dataclasses
import math
from typing import Any


def listed(text: str) -> tuple[str, ...]:
    """The names of a comma separated list, in order, each once."""
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def setting(
    default: Any,
    text: str,
    *,
    choices: tuple[str, ...] = (),
    low=0,
    high=math.inf,
    affects_results: bool = True,
) -> Any:
    """A field with its default and the help text that ``--help`` shows.

    ``choices`` are the allowed words, ``low`` and ``high`` the bounds of a number;
    other words are checked where they are looked up. A run may go on with another
    value of a setting that affects no result.
    """
    metadata = {"help": text, "choices": choices, "bounds": (low, high)}
    metadata["affects_results"] = affects_results
    return dataclasses.field(default=default, metadata=metadata)
