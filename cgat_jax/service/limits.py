"""What a service allows: how much, how fast, and to whom."""

import dataclasses
import hmac
import ipaddress
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping

from cgat_jax.errors import InputError

SHORTEST_TOKEN = 12
LOOPBACK_HOSTS = frozenset(("localhost", "127.0.0.1", "[::1]"))
_MOST_CLIENTS = 10_000  # that are remembered


class Refused(Exception):
    """A request that gets no more than a status and a line; both say why."""

    def __init__(
        self, status: int, text: str, headers: Mapping[str, str] | None = None
    ):
        """With further headers, such as when to come again."""
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a request may ask for, and how many may run.

    Attributes:
        upload_bytes: of a photo.
        pixels: of a photo, told by its header before it is decoded.
        answers: the largest k.
        rate: requests a second of one client, see ``client_of``, that search, add or
            remove, in the long run; reading pages and pictures counts a tenth of that;
            0: any number.
        burst: as many at once.
        running: requests at the same time, of all.
        share: of what there may be at the same time, connections, requests and
            attacks, what one client may have, unless its rate is any.
        seconds: within which a request must have arrived, whole, and within which what
            is sent must be taken.
    """

    upload_bytes: int = 10 * 10**6
    pixels: int = 25 * 10**6
    answers: int = 1000
    rate: float | int = 20.0
    burst: float | int = 60.0
    running: int = 96
    share: float = 0.5
    seconds: float | int = 10.0

    def of_one(self, places: int) -> int:
        """How many of so many places one client may have."""
        return max(int(self.share * places), 1) if self.rate else places


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """Who may do what.

    Attributes:
        token: that writing needs.
        everything: reading needs it as well.
        hosts: names by which the service is called; empty: any. On this machine alone
            it is its own names, so that a page of another site cannot reach it by a
            name that leads here.
        proxy: address of the proxy that says whose requests it passes on, or empty.
    """

    token: str
    everything: bool = False
    hosts: frozenset[str] = frozenset()
    proxy: str = ""

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes the same time whatever it is."""
        return hmac.compare_digest(given.encode(), self.token.encode())


def check_public(host: str, addresses: list[str], token: str) -> bool:
    """Finds that a service may listen there; whether other machines reach it.

    Raises:
        InputError: they do, and there is no token; or it is too short.
    """
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii()):
        raise InputError(f"--token: expected {SHORTEST_TOKEN} plain letters or more")
    public = not all(ipaddress.ip_address(a).is_loopback for a in addresses)
    if public and not token:
        raise InputError(
            f"--host={host}: other machines can reach it, so that it needs a token: "
            "--token=..., or CGAT_JAX_TOKEN in the environment"
        )
    return public


def check_proxy(address: str) -> str:
    """The address of a proxy, or empty.

    Raises:
        InputError: it is no address.
    """
    if address and _address(address) is None:
        raise InputError(f"--proxy={address}: expected an address, such as 127.0.0.1")
    return address


def client_of(peer: str, forwarded: str, proxy: str) -> str:
    """Who asks, for the rates: an IPv4 address, or the /64 of an IPv6 one.

    Who has an IPv6 address has its whole /64, and could use a new one each time.

    Args:
        peer: the address that a request comes from.
        forwarded: its ``X-Forwarded-For``, whose last entry the proxy has added.
        proxy: the only address whose word is taken, or empty.
    """
    address = _address(peer)
    if address is None:
        return peer
    if is_proxy(peer, proxy):
        address = _address(forwarded.rpartition(",")[2]) or address
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_proxy(peer: str, proxy: str) -> bool:
    """Whether a request or a connection comes from the proxy, if there is one."""
    address = _address(proxy)
    return address is not None and address == _address(peer)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class Places:
    """What may run at the same time: so much of all, and so much of each client."""

    def __init__(self, most: int, each: int):
        """All are free."""
        self._most, self._each = most, each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, client: str) -> bool:
        """Takes a place, if there is one; ``give_back`` is to follow then."""
        with self._lock:
            free = self._taken.total() < self._most and self._taken[client] < self._each
            self._taken[client] += free
            self._taken += Counter()  # forgets clients that have none
        return free

    def give_back(self, client: str) -> None:
        """Gives a place back that was taken."""
        with self._lock:
            self._taken -= Counter([client])


class Rates:
    """How much each client has left: a bucket that fills with time."""

    def __init__(self, limits: Limits):
        """Every client begins with a full one."""
        self._rate, self._burst = limits.rate, limits.burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float, now: float | int | None = None) -> None:
        """Takes the cost of a request.

        Raises:
            Refused: too little is left; says when to come again.
        """
        if not self._rate:
            return
        now = time.monotonic() if now is None else now
        left, since = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        enough = left >= cost
        self._left[client] = (left - cost if enough else left), now
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        if not enough:
            wait = int((cost - left) / self._rate) + 1
            text = f"too many requests; come again in {wait} s"
            raise Refused(429, text, {"Retry-After": str(wait)})
