"""Encoding what waits together: one compiled program for many requests."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from jaxtyping import UInt8

from cgat_jax.search.items import BATCHES

Crop = UInt8[np.ndarray, "H H 3"]
Encode = Callable[[np.ndarray], np.ndarray]


class Batcher:
    """A thread that encodes crops; what comes while it does is the next batch."""

    def __init__(self, encode: Encode, seen: Callable[[int], object]):
        """Starts the thread.

        Args:
            encode: gives a row of packed bits for each of [n, H, H, 3].
            seen: is told the size of each batch.
        """
        self._encode, self._seen = encode, seen
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, crop: Crop) -> Future:
        """Its packed code, once it is there."""
        future: Future = Future()
        self._waiting.put((crop, future))
        return future

    def close(self) -> None:
        """Encodes what waits, and ends the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, last = self._group(first)
            group = [pair for pair in group if pair[1].set_running_or_notify_cancel()]
            if group:
                self._seen(len(group))
                self._encode_all(group)
            if last:
                return

    def _group(self, first: tuple) -> tuple[list[tuple], bool]:
        """What waits, up to the largest batch, and whether it is the last."""
        group = [first]
        while len(group) < BATCHES[-1]:
            try:
                pair = self._waiting.get_nowait()
            except queue.Empty:
                break
            if pair is None:
                return group, True
            group.append(pair)
        return group, False

    def _encode_all(self, group: list[tuple]) -> None:
        """Encodes a batch; if that fails one by one, so that one spoils no other."""
        try:
            codes = self._encode(np.stack([crop for crop, _ in group]))
        except Exception as error:
            if len(group) == 1:
                group[0][1].set_exception(error)
            else:
                for pair in group:
                    self._encode_all([pair])
            return
        for (_, future), code in zip(group, codes, strict=True):
            future.set_result(code)
