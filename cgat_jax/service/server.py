"""The process: a socket, uvicorn, and an end that finishes what runs."""

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cgat_jax.service.guard import HEADERS
from cgat_jax.service.limits import Limits, Places, client_of, is_proxy

FINISHING = 6
"""Seconds for what runs when the end is asked for."""
_CONNECTIONS, _KEEP_ALIVE = 1024, 15
_REASONS = {400: "Bad Request", 408: "Request Timeout"}


def addresses_of(host: str) -> list[str]:
    """The addresses that a host's name means.

    Raises:
        OSError: none is known.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(error.errno, error.strerror, f"--host={host}") from error
    return sorted({str(address[0]) for *_, address in found})


def bound(host: str, port: int) -> socket.socket:
    """A socket of that address, which refuses callers until it is served.

    Args:
        host: name or address.
        port: 0 is any free one.

    Raises:
        OSError: it cannot be had; says which.
    """
    family = socket.AF_INET6 if ":" in addresses_of(host)[0] else socket.AF_INET
    # Named as TCP: else asyncio leaves Nagle's delay on, 40 ms of each answer.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        return found
    except OSError as error:
        found.close()
        why = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            why += "; choose another --port"
        raise OSError(error.errno, why, f"{host}:{port}") from error


class Punctual(H11Protocol):
    """HTTP whose heads must come, and whose answers must be taken, in time.

    Bodies are the guard's. One client has a share of the connections, so that it cannot
    lock out the others with idle ones.

    Attributes:
        seconds: for either.
        places: of connections.
        proxy: whose connections are those of many clients, or empty.
    """

    seconds = 10.0
    places: Places
    proxy = ""
    _client: str | None = None
    _late: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts to wait for the first request, or closes one too many."""
        super().connection_made(transport)
        peer = str((self.client or ("",))[0])
        if not is_proxy(peer, self.proxy):
            client = client_of(peer, "", "")
            if not self.places.take(client):
                transport.abort()
                return
            self._client = client
        # Writing pauses at the first byte that the client does not take: a closed
        # connection stays open until the last one is taken.
        transport.set_write_buffer_limits(0)
        self._expect()

    def pause_writing(self) -> None:
        """Waits for the client to take what it was sent, and then cuts it off."""
        super().pause_writing()
        self._untaken = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Goes on, for the client has taken everything."""
        self._stop_sending()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Waits for the end of a head that has begun."""
        requests = self.cycle
        super().data_received(data)
        if self.cycle is not requests:
            self._stop_waiting()
        elif self._late is None and (requests is None or requests.response_complete):
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._stop_waiting()
        self._stop_sending()
        if self._client is not None:
            self.places.give_back(self._client)
            self._client = None
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._late = self.loop.call_later(self.seconds, self._answer_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _stop_sending(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _answer_late(self) -> None:
        if not self.transport.is_closing():
            self._answer(408, "the request did not arrive in time")

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._answer(400, msg)

    def _answer(self, status: int, text: str) -> None:
        """Says why and closes, where no application is asked."""
        body = json.dumps({"error": text})
        head = {"Content-Type": "application/json", **HEADERS, "Connection": "close"}
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}"]
        lines += [f"{name}: {value}" for name, value in head.items()]
        lines += [f"Content-Length: {len(body)}", "", body]
        self.transport.write("\r\n".join(lines).encode())
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn that ends when it is asked by somebody else's signal handlers."""

    def __init__(self, config: uvicorn.Config, asked: Callable[[], Any]):
        """Ends once ``asked()`` is true."""
        super().__init__(config)
        self._asked = asked

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the program."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; called ten times a second."""
        self.should_exit = self.should_exit or bool(self._asked())
        return await super().on_tick(counter)


def serve(
    app: Any,
    listening: socket.socket,
    limits: Limits,
    *,
    asked: Callable[[], Any],
    ready: Callable[[], None],
    proxy: str = "",
) -> None:
    """Answers until the end is asked for, and then finishes what runs.

    Args:
        app: ASGI.
        listening: a socket of ``bound``.
        limits: how long a request may take to arrive, and an answer to be taken.
        asked: whether the end is asked for.
        ready: called once requests are answered.
        proxy: address of one in front, which may have all connections.
    """
    places = Places(_CONNECTIONS, limits.of_one(_CONNECTIONS))
    own = {"seconds": limits.seconds, "places": places, "proxy": proxy}
    protocol = type("Punctual", (Punctual,), own)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=FINISHING,
    )

    class Telling(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    asyncio.run(Telling(config, asked).serve([listening]))


def token_of(given: str | None) -> str:
    """The token that is given, or that of the environment, or none."""
    return given or os.environ.get("CGAT_JAX_TOKEN", "")
