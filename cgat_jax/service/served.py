"""An index as a service has it: warm, and asked by many at once."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread
import numpy as np
from starlette.concurrency import run_in_threadpool

from cgat_jax.data.crops import center_crops
from cgat_jax.report import names
from cgat_jax.search.beside import Training, load_alarm, load_training
from cgat_jax.search.index import Index
from cgat_jax.search.items import BATCHES, packed_codes
from cgat_jax.search.pictures import small_picture
from cgat_jax.search.rows import Item
from cgat_jax.service import answers
from cgat_jax.service.batching import Batcher
from cgat_jax.service.limits import Refused
from cgat_jax.service.metrics import Metrics

T = TypeVar("T")


class Served:
    """An index with all that its service needs besides."""

    def __init__(self, name: str, index: Index, metrics: Metrics):
        """Compiles the programs that encode.

        Args:
            name: what requests call it.
            index: open, and of no other process.
            metrics: are told of its size and its batches.
        """
        self.name, self.index, self.network = name, index, index.network
        self.training: Training | None = load_training(index)
        card = self.network.card
        self._sizes = {k: card[k] for k in ("image_size", "crop_size", "enlarge")}
        defense = card.get("defense", "none")
        self.title = names.DEFENSES.get(defense, defense)
        self._images = metrics.images.labels(name)
        self._images.set(len(index))
        side, encode = card["crop_size"], functools.partial(packed_codes, self.network)
        for size in BATCHES:
            encode(np.zeros((size, side, side, 3), np.uint8))
        self._alarm = load_alarm(index, self.training)
        self._judging = anyio.CapacityLimiter(1)
        self.verdict(np.zeros((side, side, 3), np.uint8))
        seen = metrics.batches.labels(name).observe
        self._batcher = Batcher(encode, seen)

    def close(self) -> None:
        """Encodes what waits, and closes the index."""
        self._batcher.close()
        self.index.close()

    def crop(self, image: np.ndarray) -> np.ndarray:
        """What the network sees of an image, uint8 [H, H, 3]."""
        return center_crops([image], **self._sizes)[0]

    def kept(self, image: np.ndarray) -> tuple[np.ndarray, bytes]:
        """What is wanted of an image that is added: its crop and its small picture."""
        return self.crop(image), small_picture(image)

    async def encode(self, crop: np.ndarray) -> np.ndarray:
        """The packed code of a crop, made together with others that wait."""
        return await asyncio.wrap_future(self._batcher.submit(crop))

    async def search(
        self, packed: np.ndarray, k: int, label: str = "", wanted: Sequence[str] = ()
    ) -> answers.Found:
        """The nearest images of a packed code.

        Args:
            packed: uint8 [bytes].
            k: how many at most.
            label: of the answers.
            wanted: classes of the query; an answer with one of them is correct.
        """
        return await run_in_threadpool(self.search_now, packed, k, label, wanted)

    def search_now(
        self, packed: np.ndarray, k: int, label: str = "", wanted: Sequence[str] = ()
    ) -> answers.Found:
        """As ``search``, in this thread."""
        index, rows = self.index, []
        if k := min(k, index.catalogue.count(label)):
            found = index.search_packed(packed[None], k, label=label)
            columns = found.numbers[0], found.ids[0], found.labels[0]
            rows = zip(*columns, found.distances[0], strict=True)
        return answers.Found(
            index=self.name,
            network_sha256=self.network.sha256,
            code=self.signs(packed).tolist(),
            answers=[
                answers.Answer(
                    number=int(number),
                    id=id_,
                    labels=list(own),
                    distance=int(distance),
                    correct=bool(set(own) & set(wanted)) if wanted else None,
                )
                for number, id_, own, distance in rows
            ],
        )

    def verdict(self, crop: np.ndarray) -> answers.Alarm | None:
        """Whether a crop is unusual, if the index has an alarm that tells."""
        if self._alarm is None:
            return None
        report = self._alarm(self.network, crop[None], batch_size=1)
        return answers.Alarm(
            raised=bool(report.raised[0]),
            p_value=float(report.p_value[0]),
            false_alarms=self._alarm.content.false_alarms,
        )

    async def judged(self, crop: np.ndarray) -> answers.Alarm | None:
        """As ``verdict``, in another thread, one at a time: it encodes many views."""
        return await anyio.to_thread.run_sync(self.verdict, crop, limiter=self._judging)

    def signs(self, packed: np.ndarray) -> np.ndarray:
        """A packed code as int8 [K] of -1 and +1."""
        bits = np.unpackbits(packed)[: self.network.bits].astype(np.int8)
        return bits * np.int8(2) - np.int8(1)

    async def add(
        self, crop: np.ndarray, picture: bytes, id_: str, labels: Sequence[str]
    ) -> answers.Added:
        """Adds what is ``kept`` of an image; it is on disk when this returns."""
        code = (await self.encode(crop)).tobytes()
        item = Item(id_, tuple(labels), code, picture)
        (number,) = await _finished(self.index.add_items, [item])
        self._images.set(len(self.index))
        return answers.Added(index=self.name, number=int(number))

    async def remove(self, number: int) -> None:
        """Removes an image.

        Raises:
            Refused: there is none of that number.
        """

        def remove() -> bool:
            there = bool(self.index.catalogue.ids([number]))
            if there:
                self.index.remove_numbers([number])
            return there

        if not await _finished(remove):
            raise Refused(404, f"no image of number {number}")
        self._images.set(len(self.index))

    def state(self) -> answers.IndexState:
        """What it is, for all to read: not where the engine's server or file is."""
        engine, settings = str(self.index.engine), self.index.settings
        return answers.IndexState(
            name=self.name,
            title=self.title,
            images=len(self.index),
            bits=self.network.bits,
            network_sha256=self.network.sha256,
            engine=settings.name if settings.uri else engine,
        )


async def _finished(function: Callable[..., T], *arguments) -> T:
    """What a function gives in a thread; it ends even if the client goes away."""
    work = asyncio.ensure_future(run_in_threadpool(function, *arguments))
    return await asyncio.shield(work)
