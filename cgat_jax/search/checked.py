"""Ids, labels and items that a catalogue can keep, and give back as they were."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cgat_jax.errors import InputError
from cgat_jax.search.rows import Id, Item


def checked_id(id_: Any) -> Id:
    """An id as plain text or a plain number, which read back have the same digest.

    Raises:
        InputError: it is neither, or none that SQLite can keep.
    """
    if isinstance(id_, str):
        return checked_text(id_, "id")
    if isinstance(id_, bool) or not isinstance(id_, int | np.integer):
        raise InputError(f"id {id_!r}: expected text or a whole number")
    if not -(2**63) <= int(id_) < 2**63:
        bits = int(id_).bit_length()
        raise InputError(f"id: expected a whole number of at most 63 bits, got {bits}")
    return int(id_)


def checked_ids(ids: Iterable[Any]) -> list[Id]:
    """As ``checked_id``, of a list, and not of text, whose letters would be ids."""
    if isinstance(ids, str):
        raise InputError(f"ids: expected a list of them, got {ids!r}")
    return [checked_id(id_) for id_ in ids]


def checked_labels(labels: Any, of: str) -> tuple[str, ...]:
    """Names of classes as plain text.

    Raises:
        InputError: it is no list of names, or one is empty or cannot be kept.
    """
    is_list = isinstance(labels, Iterable) and not isinstance(labels, str | bytes)
    names = tuple(labels) if is_list else ()
    if not is_list or not all(isinstance(name, str) and name for name in names):
        got = list(names) if is_list else labels
        raise InputError(f"labels of {of}: expected a list of names, got {got!r}")
    return tuple(checked_text(name, f"label of {of}") for name in names)


def checked_text(text: Any, what: str) -> str:
    """Text that a file can keep.

    Raises:
        InputError: it is none, or has no form in UTF-8.
    """
    try:
        if not isinstance(text, str):
            raise InputError(f"{what}: expected text, got {text!r}")
        return str(text.encode(), "utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{what} {text!r}: is no text of UTF-8") from error


def checked_item(item: Item) -> Item:
    """An item of which every column comes back as it is.

    Raises:
        InputError: names what cannot be kept.
    """
    id_ = checked_id(item.id)
    labels = checked_labels(item.labels, f"id {id_!r}")
    return item._replace(
        id=id_, labels=labels, origin=checked_text(item.origin, "origin")
    )
