"""What every request passes first: names, token, rates, sizes, time, and headers."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any

from cgat_jax.service.limits import (
    Access,
    Limits,
    Places,
    Rates,
    Refused,
    client_of,
)
from cgat_jax.service.metrics import Metrics

COOKIE = "cgat_jax_token"
CLIENT = "cgat_jax_client"
"""Of a request's scope: who asks, as ``client_of`` has it."""
_FORM_BYTES = 65_536  # of a form around a photo
_LOGIN, _LOGIN_BYTES = "/login", 4096  # which everybody may send
_READING = ("GET", "HEAD")
_WRITING = ("/images",)  # its POST, and the DELETE of what is below
_OPEN = ("/healthz", _LOGIN, "/static/")
_CHEAP = 0.1
_DRAINED = 8  # bodies of the largest size: what is read of one that is refused
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


class Guard:
    """An ASGI application around another: refuses what that should never see."""

    def __init__(self, app: Any, access: Access, limits: Limits, metrics: Metrics):
        """Around ``app``."""
        self.app, self.access, self.limits = app, access, limits
        self.metrics, self.rates = metrics, Rates(limits)
        self._places = Places(limits.running, limits.of_one(limits.running))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answers a request, or has it answered."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def send_more(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name.lower() for name, _ in message["headers"]}
                more = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                more.append((b"cache-control", b"no-store"))
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in more if pair[0] not in known),
                ]
            await send(message)

        try:
            await self._answer(scope, receive, send_more)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.monotonic() - started
            self.metrics.count(scope["method"], route, status, seconds)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = {
            k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]
        }
        deadline = time.monotonic() + self.limits.seconds
        body, most = _Body(receive, deadline), self._most(scope["path"])
        try:
            scope[CLIENT] = self._client(scope, headers)
            self._check_caller(scope, headers)
            with self._room(scope[CLIENT]):
                content = await body.read(most, headers.get("content-length"))
                await self.app(scope, _replay(content, receive), send)
        except Refused as refused:
            if "100-continue" not in headers.get("expect", "").lower():
                await body.drain(_DRAINED * self._most())
            await answer(refused, send)

    def _most(self, path: str = "") -> int:
        """Bytes of a body."""
        if path == _LOGIN:
            return _LOGIN_BYTES
        return self.limits.upload_bytes + _FORM_BYTES

    def _client(self, scope: Any, headers: dict[str, str]) -> str:
        peer = scope.get("client") or ("",)
        forwarded = headers.get("x-forwarded-for", "")
        return client_of(str(peer[0]), forwarded, self.access.proxy)

    def _check_caller(self, scope: Any, headers: dict[str, str]) -> None:
        """Names, rates and token.

        Raises:
            Refused: says why.
        """
        method, path = scope["method"], scope["path"]
        reading = method in _READING
        name = headers.get("host", "").rsplit(":", 1)
        host = name[0] if name[-1].isdecimal() else ":".join(name)
        if self.access.hosts and host.lower() not in self.access.hosts:
            raise Refused(403, "this service answers to its own name alone")
        if not reading and headers.get("sec-fetch-site") == "cross-site":
            raise Refused(403, "a page of another site has no business here")
        self.rates.take(scope[CLIENT], _CHEAP if reading else 1.0)
        writing = not reading and path.startswith(_WRITING)
        if not writing and (not self.access.everything or path.startswith(_OPEN)):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        if not given and not writing:
            given = _cookie(headers.get("cookie", ""))
        if not self.access.is_token(given):
            if reading and "text/html" in headers.get("accept", ""):
                raise Refused(303, "log in first", {"Location": "/login"})
            text = "this needs the service's token: Authorization: Bearer TOKEN"
            raise Refused(401, text, {"WWW-Authenticate": "Bearer"})

    @contextlib.contextmanager
    def _room(self, client: str) -> Iterator[None]:
        """A place among the requests that run.

        Raises:
            Refused: there is none for this client.
        """
        if not self._places.take(client):
            text = "too many requests are running; come again in a second"
            raise Refused(429, text, {"Retry-After": "1"})
        self.metrics.running.inc()
        try:
            yield
        finally:
            self.metrics.running.dec()
            self._places.give_back(client)


class _Body:
    """What a client sends, in time and of a bounded size, or not at all."""

    def __init__(self, receive: Receive, deadline: float):
        self._receive, self._deadline, self._done = receive, deadline, False

    async def read(self, most: int, said: str | None) -> bytes:
        """All of it.

        Raises:
            Refused: it is too large, late, or was broken off.
        """
        too_large = Refused(413, f"too large: at most {most:,} bytes are read")
        if said is not None and said.isdecimal() and int(said) > most:
            raise too_large
        content = bytearray()
        while not self._done:
            content += await self._next()
            if len(content) > most:
                raise too_large
        return bytes(content)

    async def drain(self, most: int) -> None:
        """Reads on and forgets, so that a client that still sends hears the answer."""
        with contextlib.suppress(Refused):
            while not self._done and most > 0:
                most -= len(await self._next())

    async def _next(self) -> bytes:
        late = Refused(408, "the request did not arrive in time")
        try:
            left = max(self._deadline - time.monotonic(), 0.001)
            message = await asyncio.wait_for(self._receive(), left)
        except TimeoutError:
            self._done = True
            raise late from None
        self._done = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request was broken off")
        return message.get("body", b"")


def _replay(content: bytes, receive: Receive) -> Receive:
    """Gives the content at once, and then whatever comes."""
    whole = [{"type": "http.request", "body": content, "more_body": False}]

    async def again() -> Any:
        return whole.pop() if whole else await receive()

    return again


async def answer(refused: Refused, send: Send) -> None:
    """Sends a refusal as JSON."""
    content = json.dumps({"error": refused.text}).encode()
    headers = {"Content-Type": "application/json", **refused.headers}
    headers["Content-Length"] = str(len(content))
    pairs = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
    start = {"type": "http.response.start", "status": refused.status, "headers": pairs}
    await send(start)
    await send({"type": "http.response.body", "body": content})


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
