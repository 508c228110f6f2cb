"""Ids and labels of an index's items, in memory, by number.

In arrays and not a dictionary: the answers of a search lie all over an index, and an
array of them is gathered while the memory of many is on its way.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cgat_jax.errors import nearest
from cgat_jax.search.rows import Id

Labels = tuple[str, ...]


class Names:
    """Grows with the largest number; a number without an item has no name."""

    def __init__(self):
        self._ids = np.full(1, None, object)  # numbers begin at 1
        self._labels = np.full(1, None, object)

    def add(
        self, numbers: np.ndarray, ids: Sequence[Id], labels: Sequence[Labels]
    ) -> None:
        """Names items, int64 numbers of at least 1."""
        if not len(numbers):
            return
        if (size := int(numbers.max()) + 1) > len(self._ids):
            more = max(size, len(self._ids) * 3 // 2) - len(self._ids)
            empty = np.full(more, None, object)
            self._ids = np.concatenate([self._ids, empty])
            self._labels = np.concatenate([self._labels, empty])
        self._ids[numbers] = _column(ids)
        self._labels[numbers] = _column(labels)

    def remove(self, numbers: np.ndarray) -> None:
        """Forgets items."""
        self._ids[numbers] = self._labels[numbers] = None

    def of(self, numbers: np.ndarray) -> tuple[list, list]:
        """Ids and labels, nested as the numbers are.

        Raises:
            KeyError: no item has one of the numbers.
        """
        if numbers.min(initial=1) < 1 or numbers.max(initial=0) >= len(self._ids):
            raise KeyError(numbers)
        ids = self._ids[numbers]
        if None in ids.ravel().tolist():
            raise KeyError(numbers)
        return ids.tolist(), self._labels[numbers].tolist()


def _column(values: Sequence[Any]) -> np.ndarray:
    return np.fromiter(values, object, len(values))


def unknown_label(label: str, known: Iterable[str]) -> str:
    """The message on a label that no image has.

    >>> from cgat_jax.search.names import unknown_label
    >>> unknown_label("cot", ["cat", "dog"])
    "label 'cot': no image of the index has it; did you mean 'cat'?"
    """
    names = list(known)
    if names:
        return f"label {label!r}: no image of the index has it{nearest(label, names)}"
    return (
        f"label {label!r}: no image of the index has any; for photos in a folder a "
        "class build it anew with experiments.index --label_by_folder"
    )
