"""How long steps take, and how much of that they wait for their data."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Batch = TypeVar("Batch")


class StepClock:
    """The wall clock of a loop, read once for each logged line.

    Compiling, refreshing and saving count: it is what a run takes.
    """

    def __init__(self):
        """Starts the clock."""
        self._begin()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time until each is there is that of waiting for data."""
        batches = iter(batches)
        while True:
            asked = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += time.monotonic() - asked
            self._steps += 1
            yield batch

    def read(self, batch_size: int) -> dict[str, float]:
        """Seconds a step and for its data, images a second, since it was last read."""
        steps, seconds = max(self._steps, 1), time.monotonic() - self._began
        values = {
            "seconds/step": seconds / steps,
            "seconds/data": self._waited / steps,
            "images_per_second": steps * batch_size / max(seconds, 1e-9),
        }
        self._begin()
        return {name: float(f"{value:.4g}") for name, value in values.items()}

    def _begin(self) -> None:
        self._began, self._waited, self._steps = time.monotonic(), 0.0, 0
