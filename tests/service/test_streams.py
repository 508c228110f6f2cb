"""Work that tells how it goes on: few at a time, none for a client that has left."""

import asyncio
import json
import threading

import pytest

from cgat_jax.errors import EngineError
from cgat_jax.service.app import make_app
from cgat_jax.service.attacking import Attacks
from cgat_jax.service.collection import opened
from cgat_jax.service.limits import Access, Limits
from cgat_jax.service.metrics import Metrics
from tests.service.toy import TOKEN

PLACES, PATIENCE = 4, 60  # seconds
HEADERS = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]


class Slow(Attacks):
    """Attacks that wait until they are let on, and tell twice."""

    def __init__(self):
        self.on, self.ended = threading.Event(), threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.told, self.error = 0, None

    def choices(self):
        return {"noise": "noise"}

    def steps(self, choice):
        return 2

    def crops(self, image):
        return [image]

    def run(self, crops, *arguments, told, **options):
        try:
            told(1)
            self.begun.release()
            self.on.wait()
            if self.error:
                raise self.error
            told(2)
            self.told += 1
            yield {"done": True}
        finally:
            self.ended.release()


@pytest.fixture
def slow(made):
    """An application with such attacks."""
    limits, metrics, attacks = Limits(rate=0), Metrics(), Slow()
    with opened([made / "cgat"], limits, metrics) as indexes:
        app = make_app(indexes, Access(token=TOKEN), limits, metrics, attacks)
        yield app, attacks, metrics


async def ask(app, leaves: asyncio.Event, attack="noise", client="127.0.0.1"):
    """Status and body of the answer to a client that listens until it leaves."""
    body = json.dumps({"query": 1, "attack": attack}).encode()
    sent, coming = [], [{"type": "http.request", "body": body}]

    async def receive():
        if coming:
            return coming.pop()
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/attack",
        "query_string": b"",
        "headers": HEADERS,
        "client": (client, 1),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def running(metrics) -> float:
    return metrics.registry.get_sample_value("cgat_jax_attacks")


def test_a_place_is_taken_until_the_work_has_ended(slow):
    app, attacks, metrics = slow

    async def leave_all():
        stays, statuses = asyncio.Event(), []
        for _ in range(PLACES):
            left = asyncio.Event()
            asked = asyncio.create_task(ask(app, left))
            await asyncio.to_thread(attacks.begun.acquire)
            left.set()
            statuses.append(await asked)
        try:
            refused = await asyncio.wait_for(ask(app, stays), PATIENCE)
            taken = running(metrics)
        finally:
            attacks.on.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        return statuses, refused, taken

    statuses, (status, body), taken = asyncio.run(leave_all())
    assert [status for status, _ in statuses] == [200] * PLACES
    assert status == 429 and b"too many attacks are running" in body
    assert taken == PLACES
    assert running(metrics) == 0


def test_one_client_has_half_of_the_places(made):
    limits, metrics, attacks = Limits(), Metrics(), Slow()

    async def fill(app):
        stays = asyncio.Event()
        clients = ["10.0.0.1", "10.0.0.1", "2001:db8::1", "2001:db8::2"]
        asked = []
        for client in clients:
            asked.append(asyncio.create_task(ask(app, stays, client=client)))
            await asyncio.to_thread(attacks.begun.acquire)
            if len(asked) == PLACES // 2:
                refused = await asyncio.wait_for(
                    ask(app, stays, client="10.0.0.1"), PATIENCE
                )
        attacks.on.set()
        answers = await asyncio.gather(*asked)
        again = await asyncio.wait_for(ask(app, stays, client="10.0.0.1"), PATIENCE)
        return [status for status, _ in answers], refused[0], again[0]

    with opened([made / "cgat"], limits, metrics) as indexes:
        hosts = Access(token=TOKEN)
        app = make_app(indexes, hosts, limits, metrics, attacks)
        assert asyncio.run(fill(app)) == ([200] * PLACES, 429, 200)


def test_work_ends_once_its_client_has_left(slow):
    app, attacks, _ = slow

    async def leave():
        left = asyncio.Event()
        left.set()
        await ask(app, left)
        attacks.on.set()
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(leave())
    assert attacks.ended.acquire(blocking=False)
    assert attacks.told == 0


def test_who_listens_is_told_everything(slow):
    app, attacks, metrics = slow
    attacks.on.set()
    status, body = asyncio.run(ask(app, asyncio.Event()))
    assert status == 200
    assert [json.loads(line) for line in body.splitlines()] == [
        {"step": 1, "of": 2},
        {"step": 2, "of": 2},
        {"result": {"done": True}},
    ]
    assert running(metrics) == 0


@pytest.mark.parametrize(
    "error",
    [EngineError("http://10.0.0.7:19530: no answer"), OSError("/secret/x: full")],
    ids=["engine", "file"],
)
def test_an_error_is_told_without_an_address(slow, error):
    app, attacks, _ = slow
    attacks.on.set()
    attacks.error = error
    _, body = asyncio.run(ask(app, asyncio.Event()))
    last = json.loads(body.splitlines()[-1])
    assert "see the server's log" in last["error"]
    assert b"10.0.0.7" not in body and b"secret" not in body


class Watched(Attacks):
    """Real attacks, which wait at their third iteration until their client has left."""

    def run(self, crops, *arguments, told, **options):
        def watched(step):
            self.seen.append(step)
            if len(self.seen) == 3:
                self.middle()
            told(step)

        yield from super().run(crops, *arguments, told=watched, **options)


@pytest.mark.slow
def test_an_attack_stops_in_the_middle_and_the_next_one_is_whole(made, caplog):
    limits, metrics = Limits(rate=0), Metrics()
    with opened([made / "none"], limits, metrics) as indexes:
        attacks = Watched(list(indexes.served.values()))
        app = make_app(indexes, Access(token=TOKEN), limits, metrics, attacks)

        def whole():
            attacks.seen, attacks.middle = [], list
            _, body = asyncio.run(ask(app, asyncio.Event(), "hag"))
            return json.loads(body.splitlines()[-1])["result"], sorted(attacks.seen)

        async def leave_in_the_middle():
            loop, leaves = asyncio.get_running_loop(), asyncio.Event()
            left = threading.Event()

            def middle():
                loop.call_soon_threadsafe(leaves.set)
                left.wait()

            attacks.seen, attacks.middle = [], middle
            await ask(app, leaves, "hag")
            left.set()
            await loop.shutdown_default_executor()

        before = whole()
        asyncio.run(leave_in_the_middle())
        assert len(attacks.seen) == 3
        assert not caplog.records  # JAX says nothing of it either
        assert whole() == before
