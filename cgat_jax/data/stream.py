"""Making items ahead of time in threads, in order. Grain imports jax."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import grain

Item = TypeVar("Item")
_AHEAD = 2  # items for each thread


class _Failure(NamedTuple):
    error: Exception


class _Steps:
    """What grain reads from: item ``step`` is ``make(step)``, or why it failed."""

    def __init__(self, make: Callable[[int], Item], num_steps: int):
        self._make = make
        self._num_steps = num_steps

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, step: int) -> Item | _Failure:
        # Grain appends lines of its own to the message of an error it sees.
        try:
            return self._make(step)
        except Exception as error:
            return _Failure(error)


def in_threads(
    make: Callable[[int], Item], num_steps: int, threads: int
) -> Iterator[Item]:
    """Yields make(0), make(1), ... in order; ends its threads however it ends."""
    if num_steps <= 0:
        return
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=_AHEAD * threads
    )
    steps = grain.MapDataset.source(_Steps(make, num_steps))
    iterator = iter(steps.to_iter_dataset(options))
    try:
        for item in iterator:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        iterator.close()
