"""Answers that tell how work goes on, line by line, while it runs in a thread."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi.responses import StreamingResponse
from prometheus_client import Gauge

from cgat_jax.service.limits import Places, Refused
from cgat_jax.service.problems import problem_of

Tell = Callable[[dict[str, Any]], None]


class Gone(Exception):
    """Nobody listens any more to what work tells."""


class Streams:
    """Work of clients that listen to it; few run or wait at a time."""

    def __init__(self, places: Places, running: Gauge):
        """With so many places; the gauge has how many are taken."""
        self._places, self._running = places, running

    def answer(
        self, run: Callable[[Tell], None], request: str, client: str
    ) -> StreamingResponse:
        """Starts work and answers with what it tells, as lines of JSON.

        Its place is taken until the work has ended, with or without its client; telling
        raises ``Gone`` once that has left.

        Args:
            run: the work; is given what tells.
            request: its method and path, for the log.
            client: who asks.

        Raises:
            Refused: every place that this client may have is taken.
        """
        if not self._places.take(client):
            raise Refused(429, "too many attacks are running", {"Retry-After": "3"})
        self._running.inc()
        loop, gone = asyncio.get_running_loop(), threading.Event()
        told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        def put(event: dict[str, Any] | None) -> None:
            loop.call_soon_threadsafe(told.put_nowait, event)

        def tell(event: dict[str, Any]) -> None:
            if gone.is_set():
                raise Gone
            put(event)

        def work() -> None:
            try:
                run(tell)
            except Exception as error:
                if not gone.is_set():
                    put({"error": problem_of(error, request).text})
            finally:
                self._running.dec()
                self._places.give_back(client)
                put(None)

        # The loop's own threads: it does not end before they have.
        loop.run_in_executor(None, work)
        return _Heard(_lines(told), gone)


class _Heard(StreamingResponse):
    """Notes when nobody listens any more, also before the first line."""

    def __init__(self, lines: AsyncIterator[bytes], gone: threading.Event):
        super().__init__(lines, media_type="application/x-ndjson")
        self._gone = gone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._gone.set()


async def _lines(told: asyncio.Queue) -> AsyncIterator[bytes]:
    while (event := await told.get()) is not None:
        yield json.dumps(event).encode() + b"\n"
