"""The program: it holds its folders, finishes what runs, and loses nothing."""

import asyncio
import contextlib
import signal
import socket
import threading
import time

import pytest
from absl import flags

from cgat_jax.errors import InputError
from cgat_jax.search import Index
from cgat_jax.service import check_installed, server
from cgat_jax.service.guard import Guard
from cgat_jax.service.limits import Access, Limits, Rates, Refused, check_public
from cgat_jax.service.metrics import Metrics
from cgat_jax.service.server import bound, serve
from experiments.serve import define_flags, names_of
from tests.programs import run_program
from tests.service.process import serving
from tests.service.toy import NUM_DATABASE, encoded, make_index, network, photo, upload

PNG = encoded(photo(1000))
PATIENCE = 60  # seconds
QUICK = ("--noattacks", "--rate=0")
HEAD = b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = make_index(tmp_path_factory.mktemp("service") / "index")
    with serving(f"--index={folder}", *QUICK, "--seconds=1") as process:
        process.folder = folder
        yield process


@pytest.mark.slow
def test_a_served_folder_is_held(service, tmp_path):
    net = network().save(tmp_path / "net.safetensors")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(PNG)
    again = run_program("experiments.serve", f"--index={service.folder}", "--port=0")
    filled = run_program(
        "experiments.index",
        f"--workdir={net}",
        f"--images={photos}",
        f"--out={service.folder}",
    )
    for done, name in ((again, "serve"), (filled, "index")):
        assert done.returncode == 2
        assert done.stderr.startswith(f"{name}: {service.folder}: in use by process")
        assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_named(service, made):
    done = run_program(
        "experiments.serve", f"--index={made / 'cgat'}", f"--port={service.port}"
    )
    assert done.returncode == 2
    assert f"127.0.0.1:{service.port}" in done.stderr
    assert "choose another --port" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    {
        "nothing": [b""],
        "half a head": [b"POST /search HTTP/1.1\r\n", b"Host: 127"],
        "no body": [HEAD + b"Content-Length: 10\r\n\r\n"],
        "a slow body": [
            HEAD + b"Content-Length: 10\r\n\r\n", *[b"x"] * 5
        ],
    }.values(),
    ids=["nothing", "half a head", "no body", "a slow body"],
)  # fmt: skip
def test_slow_senders_get_408(service, parts):
    token = service.client.headers["authorization"].split()[1].encode()
    parts = [part.replace(b"%s", token) for part in parts]
    answer = service.say(*parts, pause=0.4)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b'{"error": "the request did not arrive in time"}')


def test_the_second_request_of_a_connection_has_to_be_in_time_as_well(service):
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = service.say(whole, b"GET /healthz HTTP/1.1\r\nHo", pause=0.3)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


def test_a_large_upload_hears_why_it_is_refused(service):
    answer = service.client.post("/search", files=upload(b"x" * 30_000_000))
    assert answer.status_code == 413
    assert "at most" in answer.json()["error"]


def test_many_at_once_are_encoded_together(service):
    found, waiting = [], threading.Barrier(24)

    def ask(seed):
        waiting.wait()
        answer = service.client.post("/search", files=upload(encoded(photo(seed))))
        found.append((seed, answer.json()["code"]))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = network().encode([photo(seed) for seed in range(24)], batch_size=8)
    assert len(found) == 24
    for seed, code in found:
        assert code == codes[seed].tolist()
    lines = service.client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    batches = float(values['cgat_jax_batch_images_count{index="index"}'])
    images = float(values['cgat_jax_batch_images_sum{index="index"}'])
    assert batches < images


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_a_kill(folders):
    folder = folders / "cgat"
    known = []
    with serving(f"--index={folder}", *QUICK) as process:

        def add(part):
            for i in range(200):
                try:
                    answer = process.client.post(
                        "/images",
                        data={"id": f"{part}-{i}"},
                        files=upload(encoded(photo(i))),
                    )
                except Exception:  # the service is gone
                    return
                if answer.status_code == 201:
                    known.append(f"{part}-{i}")

        threads = [threading.Thread(target=add, args=(part,)) for part in range(3)]
        for thread in threads:
            thread.start()
        while len(known) < 20:
            time.sleep(0.01)
        process.process.send_signal(signal.SIGKILL)
        process.process.wait(10)
        for thread in threads:
            thread.join()
    index = Index.load(folder)
    ids = index.catalogue.origins()
    assert set(known) <= set(ids)
    assert NUM_DATABASE + len(known) <= len(ids) <= NUM_DATABASE + len(known) + 3
    for code, id_ in zip(*_codes(index, known[:5]), strict=True):
        assert id_ in index.search(code[None], k=len(index)).ids[0]
    index.close()


def _codes(index, ids):
    photos = [photo(int(id_.split("-")[1])) for id_ in ids]
    return index.network.encode(photos), ids


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_finishes_what_runs(made, number, code):
    with serving(f"--index={made / 'none'}", *QUICK) as process:
        token = process.client.headers["authorization"].encode()
        form = encoded_form(PNG)
        head = (
            b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n"
            b"Authorization: %s\r\nContent-Length: %d\r\n\r\n" % (token, len(form))
        )
        answers = []
        slow = threading.Thread(
            target=lambda: answers.append(
                process.say(head, form[:50], form[50:], pause=1.0)
            )
        )
        slow.start()
        process.client.get("/healthz")  # by now the slow one is read
        assert process.end(number) == code
        slow.join()
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert process.errors.splitlines()[-1].startswith(
        f"serve: stopped by {number.name}"
    )


def encoded_form(content: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n"


@pytest.mark.slow
def test_a_token_is_drawn_where_none_is_given(made):
    with serving(f"--index={made / 'none'}", *QUICK, token="") as process:
        (line,) = [
            line for line in process.said.splitlines() if line.startswith("token")
        ]
        token = line.split()[-1]
        assert len(token) == 32
        assert process.client.post("/search", files=upload(PNG)).status_code == 200
        wrong = process.client.delete("/images/1")
        assert wrong.status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        gone = process.client.delete("/images/999", headers=headers)
        assert gone.status_code == 404


REFUSED = {
    "no index": ([], "--index is missing"),
    "nowhere": (["--index=nowhere"], "nowhere does not exist"),
    "no index there": (["--index=docs"], "docs: holds no index"),
    "twice the same name": (["--index=docs", "--index=docs/"], "different names"),
    "for all to reach": (["--index=docs", "--host=0.0.0.0"], "needs a token"),
    "a proxy by name": (["--index=docs", "--proxy=nginx"], "expected an address"),
    "a short token": (["--index=docs", "--token=abc"], "12 plain letters"),
    "an unknown host": (["--index=docs", "--host=no.such.host.invalid"], "--host=no"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_in_a_line(case):
    arguments, text = REFUSED[case]
    done = run_program("experiments.serve", "--port=0", *arguments)
    errors = done.stderr
    assert done.returncode == 2 and text in errors
    assert errors.startswith("serve: ") and errors.count("\n") == 1, errors


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda n: None if n == "fastapi" else real(n)
    )
    with pytest.raises(ValueError, match=r"fastapi: pip install 'cgat-jax\[serve\]'"):
        check_installed()


def test_a_bucket_fills_with_time():
    rates = Rates(Limits(rate=2, burst=3))
    for _ in range(3):
        rates.take("a", 1.0, 0)
    with pytest.raises(Refused):
        rates.take("a", 1.0, 0.4)
    rates.take("b", 1.0, 0.4)
    rates.take("a", 1.0, 0.6)
    with pytest.raises(Refused):
        rates.take("a", 1.0, 0.6)


def test_few_clients_are_remembered():
    rates = Rates(Limits())
    for i in range(20_000):
        rates.take(str(i), 1.0, 0)
    assert len(rates._left) == 10_000


PROXY = "10.0.0.1"
SHARED = {
    "an address": ("", [("192.0.2.1", "")] * 2),
    "a /64": ("", [("2001:db8::1", ""), ("2001:db8::ffff:1", "")]),
    "IPv4 within IPv6": ("", [("::ffff:192.0.2.1", ""), ("192.0.2.1", "")]),
    "no proxy": ("", [("192.0.2.1", "1.1.1.1"), ("192.0.2.1", "2.2.2.2")]),
    "not the proxy": (PROXY, [("192.0.2.1", "1.1.1.1"), ("192.0.2.1", "2.2.2.2")]),
    "made up entries": (PROXY, [(PROXY, "1.1.1.1, 192.0.2.1"), (PROXY, "192.0.2.1")]),
    "a /64 of the proxy": (PROXY, [(PROXY, "2001:db8::1"), (PROXY, "2001:db8::2")]),
    "no address": (PROXY, [(PROXY, "unknown"), (PROXY, "")]),
}
APART = {
    "addresses": ("", [("192.0.2.1", ""), ("192.0.2.2", "")]),
    "two /64": ("", [("2001:db8::1", ""), ("2001:db8:0:1::1", "")]),
    "IPv4 within IPv6": ("", [("::ffff:192.0.2.1", ""), ("::ffff:192.0.2.2", "")]),
    "the proxy": (PROXY, [(PROXY, "192.0.2.1"), (PROXY, "192.0.2.2")]),
    "the proxy in IPv6": (PROXY, [(f"::ffff:{PROXY}", "1.1.1.1"), (PROXY, "2.2.2.2")]),
}


@pytest.mark.parametrize(
    ("proxy", "requests", "second"),
    [(*case, 429) for case in SHARED.values()]
    + [(*case, 204) for case in APART.values()],
    ids=[f"shared: {case}" for case in SHARED] + [f"apart: {case}" for case in APART],
)
def test_each_client_has_a_bucket_of_its_own(proxy, requests, second):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})

    access = Access(token="x" * 12, proxy=proxy)
    guard = Guard(app, access, Limits(rate=1e-9, burst=0.1), Metrics())

    async def ask(peer, forwarded):
        scope = {"type": "http", "method": "GET", "path": "/", "client": (peer, 1)}
        scope["headers"] = [(b"x-forwarded-for", forwarded.encode())]
        sent = []

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        await guard(scope, receive, send)
        return sent[0]["status"]

    statuses = [asyncio.run(ask(*request)) for request in requests]
    assert statuses == [204, second]


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::"])
def test_what_others_can_reach_needs_a_token(address):
    with pytest.raises(ValueError, match="token"):
        check_public("x", ["127.0.0.1", address], "")
    assert check_public("x", [address], "long-enough-token")
    assert not check_public("localhost", ["127.0.0.1", "::1"], "")


def test_answers_are_not_held_back_for_more_to_send():
    """TCP_NODELAY is set on what a served socket accepts."""

    async def accepted():
        told = asyncio.get_running_loop().create_future()

        class Told(asyncio.Protocol):
            def connection_made(self, transport):
                told.set_result(transport.get_extra_info("socket"))

        loop, listening = asyncio.get_running_loop(), bound("127.0.0.1", 0)
        server = await loop.create_server(Told, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        found = await told
        delay_off = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        server.close()
        return delay_off

    assert asyncio.run(accepted())


GET = b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n"


@pytest.mark.parametrize(
    "requests", [2 * (GET % b""), GET % b"Connection: close\r\n"], ids=["two", "last"]
)
def test_who_takes_no_answer_is_cut_off_and_has_no_place(monkeypatch, requests):
    """Both connections would stay open for as long as the client likes."""
    lost = threading.Event()
    forget = server.Punctual.connection_lost

    def connection_lost(self, error):
        forget(self, error)
        self.loop.call_soon(self.loop.call_soon, lost.set)  # once the request is over

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(32 * 10**6)})

    limits = Limits(rate=0, seconds=0.2)
    guard = Guard(app, Access(token="x" * 12), limits, Metrics())
    monkeypatch.setattr(server.Punctual, "connection_lost", connection_lost)
    with (
        answering(guard, limits) as address,
        socket.create_connection(address) as client,
    ):
        client.sendall(requests)
        assert lost.wait(PATIENCE)
        running = guard.metrics.registry.get_sample_value
        assert running("cgat_jax_running") == 0


@contextlib.contextmanager
def answering(app, limits, **options):
    """The address at which an application answers, in a thread."""
    ready, end = threading.Event(), threading.Event()
    with bound("127.0.0.1", 0) as listening:
        events = {"asked": end.is_set, "ready": ready.set}
        thread = threading.Thread(
            target=serve, args=(app, listening, limits), kwargs=events | options
        )
        thread.start()
        try:
            assert ready.wait(PATIENCE)
            yield listening.getsockname()
        finally:
            end.set()
            thread.join()


@pytest.mark.parametrize("proxy", ["", "127.0.0.1"])
def test_connections_of_one_client_leave_room_for_others(monkeypatch, proxy):
    """Idle ones alone would lock everybody out, but those of a proxy are of many."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(place, client):
        with socket.create_connection(place, PATIENCE, (client, 0)) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(GET % b"Connection: close\r\n")
                return connection.recv(100)
        return b""

    monkeypatch.setattr(server, "_CONNECTIONS", 8)
    with answering(app, Limits(seconds=PATIENCE), proxy=proxy) as address:
        idle = [socket.create_connection(address) for _ in range(4)]
        assert (b" 204 " in ask(address, "127.0.0.1")) == bool(proxy)
        assert b" 204 " in ask(address, "127.0.0.2")
        for connection in idle:
            connection.close()
        deadline = time.monotonic() + PATIENCE
        while b" 204 " not in ask(address, "127.0.0.1"):
            assert time.monotonic() < deadline


def test_a_service_behind_a_proxy_answers_to_its_name():
    def names(public, *arguments):
        values = flags.FlagValues()
        define_flags(values)
        values(["serve", *arguments])
        return names_of(values, public)

    own = {"localhost", "127.0.0.1", "[::1]"}
    assert names(False) == own
    assert names(False, "--name=Search.example.org") == own | {"search.example.org"}
    assert names(False, "--host=::1", "--name=a.example", "--name=b.example") == own | {
        *("a.example", "b.example")
    }
    assert names(True, "--host=192.0.2.1") == frozenset()
    with pytest.raises(InputError, match="what other machines reach answers to any"):
        names(True, "--host=192.0.2.1", "--name=a.example")
    for wrong in ("a.example:443", "a.example/x", "a.example.", "http://a.example"):
        with pytest.raises(InputError, match="expected a host, as search.example.org"):
            names(False, f"--name={wrong}")
