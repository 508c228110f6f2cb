"""The numbers of the items of each label, for engines that do not know labels."""

from collections.abc import Iterable, Sequence

import numpy as np


class LabelSets:
    """Sets that grow and shrink, and the arrays that were made of them."""

    def __init__(self):
        """Empty."""
        self._sets: dict[int, set[int]] = {}
        self._arrays: dict[int, np.ndarray] = {}

    def add(self, numbers: np.ndarray, labels: Sequence[Iterable[int]]) -> None:
        """Adds items."""
        for number, own in zip(numbers.tolist(), labels, strict=True):
            for label in own:
                self._sets.setdefault(label, set()).add(number)
                self._arrays.pop(label, None)

    def remove(self, numbers: np.ndarray) -> None:
        """Removes items."""
        gone = set(numbers.tolist())
        for label, items in self._sets.items():
            if items & gone:
                items -= gone
                self._arrays.pop(label, None)

    def of(self, label: int) -> np.ndarray:
        """The numbers with a label, int64, sorted."""
        if label not in self._arrays:
            items = self._sets.get(label, ())
            self._arrays[label] = np.sort(np.fromiter(items, np.int64, len(items)))
        return self._arrays[label]
