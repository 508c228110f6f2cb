"""Clients of a service: honest ones, that are timed, and others.

Requests are bytes that are ready beforehand, on connections that stay open, so that as
little as possible of the time is the clients' own.
"""

import asyncio
import collections
import contextlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cgat_jax.search.pictures import encoded

_BOUNDARY = b"cgat-jax"
_FORM = "multipart/form-data; boundary=cgat-jax"
_EVERY = 10
"""Of so many requests of an abuse, one is bad."""
_PATIENCE = 120.0


class Target(NamedTuple):
    """A service: its port and its process."""

    port: int
    pid: int


class Kind(NamedTuple):
    """A kind of request: what is sent, what must come back, and how it is sent."""

    name: str
    status: int
    content: bytes
    pause: float = 0.0


class Abuse(NamedTuple):
    """What came of an abuse.

    Attributes:
        counts: how often a kind got a status; -1: no answer.
        wrong: answers to good requests that were not as the first ones.
        memory: bytes that the service held, at the beginning, with the first of each
            tenth, and at the end.
        seconds: all of it took.
    """

    counts: dict[tuple[str, int], int]
    wrong: int
    memory: list[int]
    seconds: float


def form(photo: bytes, path: str = "/search", token: str = "") -> bytes:
    """A request with a photo."""
    body = (
        b"--%b\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n%b\r\n"
        b"--%b--\r\n" % (_BOUNDARY, photo, _BOUNDARY)
    )
    return request(path, body, _FORM, token)


def request(path: str, body: bytes, kind: str, token: str = "") -> bytes:
    """A POST."""
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer}Content-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def photos(count: int, side: int = 64) -> list[bytes]:
    """JPEG files of smooth random colors."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        image = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        found.append(encoded(image.resize((side, side)), "JPEG", quality=90))
    return found


class Connection:
    """A connection that stays open, and is opened again where it was closed."""

    def __init__(self, port: int):
        """To a port of this machine."""
        self._port, self._streams = port, None

    async def ask(self, content: bytes, pause: float = 0.0) -> tuple[int, bytes]:
        """Sends a request, in two parts if there is a pause; status and body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            with contextlib.suppress(ConnectionError):  # an answer may be there
                if pause:
                    writer.write(content[: len(content) // 2])
                    await asyncio.sleep(pause)
                else:
                    writer.write(content)
                    await writer.drain()
            return await self._answer(reader)
        except BaseException:
            await self.close()
            raise

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines[1:] if line)
        if b"content-length" in fields:
            body = await reader.readexactly(int(fields[b"content-length"]))
        else:
            body = await reader.read()
        if fields.get(b"connection") == b"close" or reader.at_eof():
            await self.close()
        return int(lines[0].split()[1]), body

    async def close(self) -> None:
        """Closes it."""
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def answered(
    connection: Connection, content: bytes, pause: float = 0.0
) -> tuple[int, bytes]:
    """As ``Connection.ask``; -1 where no answer comes.

    A connection that the service had closed meanwhile, after its last answer, is
    opened again once.
    """
    for _ in range(2):
        fresh = connection._streams is None
        try:
            async with asyncio.timeout(_PATIENCE):
                return await connection.ask(content, pause)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            if fresh:
                break
    return -1, b""


async def load(target: Target, clients: int, count: int) -> list[float]:
    """Seconds from request to answer of so many searches by so many clients.

    Raises:
        RuntimeError: one was not answered as it should be.
    """
    requests, seconds = [form(photo) for photo in photos(64)], []
    numbers = iter(range(count))

    async def client() -> None:
        connection = Connection(target.port)
        for number in numbers:
            started = time.perf_counter()
            status, body = await answered(connection, requests[number % 64])
            seconds.append(time.perf_counter() - started)
            if status != 200:
                raise RuntimeError(f"status {status}: {body!r}")
        await connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


def bad_kinds(*, upload_bytes: int, seconds: float) -> list[Kind]:
    """Bad requests of every kind, each with the status that it must get."""
    (photo,) = photos(1, 400)
    stream = io.BytesIO()
    Image.new("1", (7000, 7000)).save(stream, "PNG")
    text = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    json_kind = "application/json"
    return [
        Kind("cut off", 422, form(photo[: len(photo) // 2])),
        Kind("bomb", 413, form(stream.getvalue())),
        Kind("no image", 415, form(b"GIF89a and no more")),
        Kind("another type", 415, request("/search", photo, "image/jpeg")),
        Kind("broken form", 422, request("/search", b"--cgat-jax\r\nno", _FORM)),
        Kind("huge", 413, form(b"x" * (upload_bytes + 10**6))),
        Kind("deep JSON", 422, request("/search", b"[" * 50_000, json_kind)),
        Kind("unknown query", 404, request("/search", b'{"query": 1000}', json_kind)),
        Kind("no token", 401, form(photo, "/images")),
        Kind("wrong token", 401, form(photo, "/images", "x" * 20)),
        Kind("no such page", 404, text.replace(b" / ", b" /../../etc/passwd ")),
        Kind("no HTTP", 400, b"\x16\x03\x01 hello\r\n\r\n"),
        Kind("slow", 408, form(photo), 2 * seconds + 2),
    ]


async def abuse(
    target: Target, count: int, bad: list[Kind], *, clients: int = 16
) -> Abuse:
    """Searches of which every tenth is bad, by many clients; slow ones in addition.

    Args:
        target: the service.
        count: requests.
        bad: see ``bad_kinds``.
        clients: connections at a time.
    """
    good = [form(photo) for photo in photos(16)]
    opened = Connection(target.port)
    first = [await answered(opened, content) for content in good]
    await opened.close()
    memory, wrong = [held(target.pid)], 0
    counts: collections.Counter = collections.Counter()
    started, slow = time.perf_counter(), []
    numbers = iter(range(count))

    async def ask(connection: Connection, kind: Kind) -> bytes:
        status, body = await answered(connection, kind.content, kind.pause)
        counts[kind.name, status] += 1
        return body

    async def ask_slowly(kind: Kind) -> None:
        connection = Connection(target.port)
        await ask(connection, kind)
        await connection.close()

    async def client() -> None:
        nonlocal wrong
        connection = Connection(target.port)
        for number in numbers:
            if number % _EVERY == _EVERY - 1:
                kind = bad[number // _EVERY % len(bad)]
                if kind.pause:
                    slow.append(asyncio.create_task(ask_slowly(kind)))
                else:
                    await ask(connection, kind)
            else:
                body = await ask(connection, Kind("good", 200, good[number % 16]))
                wrong += body != first[number % 16][1]
            if number % max(count // 10, 1) == 0:
                memory.append(held(target.pid))
        await connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    await asyncio.gather(*slow)
    memory.append(held(target.pid))
    return Abuse(dict(counts), wrong, memory, time.perf_counter() - started)


def held(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where nothing tells."""
    path = Path(f"/proc/{pid}/statm")
    if not path.is_file():
        return 0
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def unlike(found: Abuse, bad: list[Kind]) -> Iterator[str]:
    """What was not as it had to be, a line each."""
    wanted = {kind.name: kind.status for kind in bad} | {"good": 200}
    for (name, status), count in sorted(found.counts.items()):
        if status != wanted[name]:
            yield f"{name}: {count} times {status}, expected {wanted[name]}"
    if found.wrong:
        yield f"{found.wrong} good requests had another answer than the first time"
