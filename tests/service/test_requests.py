"""What the service answers: the index's own answers, and refusals that say why."""

import asyncio
import contextlib
import json
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cgat_jax.errors import EngineError
from cgat_jax.search import Index
from cgat_jax.search.engines import EngineSettings, NumpyEngine
from cgat_jax.service import collection, problems
from cgat_jax.service.guard import Guard
from cgat_jax.service.limits import Access, Limits, Places
from cgat_jax.service.metrics import Metrics
from tests.service.conftest import client_of
from tests.service.toy import (
    CLASSES,
    NUM_DATABASE,
    WITH_TOKEN,
    bomb,
    encoded,
    photo,
    scans,
    upload,
)

PNG = encoded(photo(1000))


def search(client, **fields):
    return client.post("/search", data=fields, files=upload(PNG))


@pytest.mark.slow
def test_a_photo_finds_what_the_index_finds(client, made):
    index = Index.load(made / "cgat")
    wanted = index.search([photo(1000)], k=5)

    found = search(client, k=5).json()

    rows = found["answers"]
    assert [row["id"] for row in rows] == wanted.ids[0]
    assert [row["distance"] for row in rows] == wanted.distances[0].tolist()
    assert [tuple(row["labels"]) for row in rows] == wanted.labels[0]
    assert found["code"] == index.network.encode([photo(1000)])[0].tolist()
    assert {row["correct"] for row in rows} == {None}


def test_a_code_finds_the_same_as_its_photo(client):
    found = search(client, k=5).json()
    asked = {"k": 5, "code": found["code"], "network_sha256": found["network_sha256"]}
    assert client.post("/search", json=asked).json() == found


def test_a_code_of_another_network_is_refused(client):
    asked = {"code": [1] * 16, "network_sha256": "0" * 64}
    answer = client.post("/search", json=asked)
    assert answer.status_code == 422
    assert "codes of network 000000000000" in answer.json()["error"]


def test_a_query_of_the_index_is_known_with_its_classes(client):
    rows = client.post("/search", json={"query": 1, "k": NUM_DATABASE}).json()
    (_, _, labels), *_ = client.indexes.queries()
    for row in rows["answers"]:
        assert row["correct"] == bool(set(row["labels"]) & set(labels))


@pytest.mark.parametrize("label", CLASSES)
def test_answers_have_the_label_that_is_asked_for(client, label):
    rows = search(client, k=1000, label=label).json()["answers"]
    assert len(rows) == NUM_DATABASE // 3
    assert all(row["labels"] == [label] for row in rows)


def test_of_two_indexes_the_named_one_answers(folders):
    with client_of(folders, ("none", "cgat")) as client:
        named = [search(client, index=name).json() for name in ("none", "cgat")]
        assert [found["index"] for found in named] == ["none", "cgat"]
        assert named[0]["network_sha256"] != named[1]["network_sha256"]
        refused = search(client)
        assert refused.status_code == 422
        assert refused.json()["error"] == "index: expected one of none, cgat"


def test_what_is_added_is_found_and_what_is_removed_is_not(client):
    fields = {"id": "mine.jpg", "labels": ["cat", "new"]}
    added = client.post("/images", data=fields, files=upload(PNG), headers=WITH_TOKEN)
    assert added.status_code == 201
    number = added.json()["number"]
    first = search(client, k=1, label="new").json()["answers"][0]
    wanted = {"number": number, "id": "mine.jpg", "labels": ["cat", "new"]}
    assert first == wanted | {"distance": 0, "correct": None}
    picture = client.get(f"/images/{number}")
    assert picture.headers["content-type"] == "image/jpeg"
    assert client.get("/healthz").json()["indexes"][0]["images"] == NUM_DATABASE + 1

    assert client.delete(f"/images/{number}", headers=WITH_TOKEN).status_code == 204
    assert "mine.jpg" not in search(client, k=100).text
    assert client.get(f"/images/{number}").status_code == 404
    assert client.delete(f"/images/{number}", headers=WITH_TOKEN).status_code == 404


def test_an_id_that_is_taken_is_refused(client):
    answer = client.post(
        "/images", data={"id": "000.jpg"}, files=upload(PNG), headers=WITH_TOKEN
    )
    assert answer.status_code == 422
    assert "is in the index already" in answer.json()["error"]


FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}
BAD = {
    "no image": (415, {"files": upload(b"hello")}),
    "empty": (422, {"files": upload(b"")}),
    "cut off": (422, {"files": upload(PNG[: len(PNG) // 2])}),
    "a bomb": (413, {"files": upload(bomb())}),
    "a JPEG of many scans": (422, {"files": upload(scans(101))}),
    "a large file": (413, {"files": upload(b"x" * 2_000_000)}),
    "a large field": (422, {"files": upload(PNG), "data": {"label": "x" * 20_000}}),
    "no form": (415, {"content": PNG, "headers": {"content-type": "image/png"}}),
    "no type": (415, {"content": PNG}),
    "a broken form": (422, {"content": b"--y\r\n", "headers": FORM}),
    "another field": (422, {"files": {"photo": ("a.png", PNG)}}),
    "two files": (422, {"files": [("image", ("a", PNG)), ("image", ("b", PNG))]}),
    "no JSON": (422, {"content": b"{", "headers": JSON}),
    "deep JSON": (422, {"content": b"[" * 100_000, "headers": JSON}),
    "no object": (422, {"json": [1]}),
    "nothing": (422, {"json": {}}),
    "no code": (422, {"json": {"code": "x", "network_sha256": "OWN"}}),
    "a short code": (422, {"json": {"code": [1], "network_sha256": "OWN"}}),
    "a code of lists": (422, {"json": {"code": [[1]] * 16, "network_sha256": "OWN"}}),
    "a code of NaN": (
        422,
        {"content": b'{"network_sha256": "OWN", "code": [NaN%s]}' % (b", 1" * 15)},
    ),
    "no network": (422, {"json": {"code": [1] * 16}}),
    "k of 0": (422, {"files": upload(PNG), "data": {"k": "0"}}),
    "k too large": (422, {"files": upload(PNG), "data": {"k": "1001"}}),
    "k no number": (422, {"json": {"k": "many", "query": 1}}),
    "k of many digits": (422, {"json": {"k": "9" * 5000, "query": 1}}),
    "k of signs": (422, {"json": {"k": "--1", "query": 1}}),
    "k true": (422, {"json": {"k": True, "query": 1}}),
    "an unknown label": (422, {"files": upload(PNG), "data": {"label": "cow"}}),
    "a label of half a letter": (
        422,
        {"content": b'{"query": 1, "label": "\\ud800"}', "headers": JSON},
    ),
    "an unknown index": (422, {"files": upload(PNG), "data": {"index": "../cgat"}}),
    "a code of a large number": (422, {"json": {"code": [10**400] + [1] * 15}}),
    "an unknown query": (404, {"json": {"query": 99}}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_get_a_line_of_json(folders, case):
    status, request = BAD[case]
    with client_of(folders, limits=Limits(rate=0, upload_bytes=10**6)) as client:
        own = next(iter(client.indexes.served.values())).network.sha256
        if "json" in request:
            request = {
                "json": json.loads(json.dumps(request["json"]).replace("OWN", own))
            }
        if b"OWN" in request.get("content", b""):
            content = request["content"].replace(b"OWN", own.encode())
            request = {"content": content, "headers": JSON}
        answer = client.post("/search", **request)
    assert answer.status_code == status, answer.text
    (text,) = answer.json().values()
    assert text and "\n" not in text and str(folders) not in text


def test_a_jpeg_of_few_scans_is_searched(client):
    assert client.post("/search", files=upload(scans(100))).status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63), "../1", "%2e%2e%2f1"])
def test_numbers_alone_name_pictures(client, number):
    assert client.get(f"/images/{number}").status_code in (404, 422)


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/no"])
def test_no_path_leads_to_a_file(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "Not Found"}


def test_writing_needs_the_token(client):
    asked = {"data": {"id": "a"}, "files": upload(PNG)}
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic x"},
    ):
        assert client.post("/images", headers=headers, **asked).status_code == 401
        assert client.delete("/images/1", headers=headers).status_code == 401
    client.cookies.set("cgat_jax_token", "a-token-of-tests")  # is for reading alone
    assert client.post("/images", **asked).status_code == 401
    assert search(client).status_code == 200


def test_with_a_token_everything_but_its_health_needs_it(folders):
    with client_of(folders, everything=True, hosts=frozenset()) as client:
        assert search(client).status_code == 401
        assert client.get("/metrics").status_code == 401
        assert client.get("/images/1").status_code == 401
        assert client.get("/healthz").status_code == 200
        page = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
        assert page.headers["location"] == "/login"
        assert client.get("/images/1", headers=WITH_TOKEN).status_code == 200

        assert client.post("/login", data={"token": "no"}).status_code == 401
        files = {"token": (None, "a-token-of-tests")}
        client.post("/login", files=files, follow_redirects=False)
        assert client.get("/images/1").status_code == 200
        assert search(client).status_code == 200


CODECS = {"punycode": "x", "idna": "xn--aaa-kkk", "utf-7": "+2AA-", "no codec": "x"}


@pytest.mark.parametrize("path", ["/login", "/search"])
@pytest.mark.parametrize("codec", CODECS)
def test_forms_are_decoded_as_utf_8_alone(client, path, codec):
    """Python's codecs take seconds for a small field, or raise what nobody expects."""
    field = (
        b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n%b\r\n--b--\r\n'
    )
    content = field % CODECS[codec].encode()
    for charset, status in ((codec, 415), ("UTF-8", 401 if path == "/login" else 422)):
        kind = f"multipart/form-data; boundary=b; charset={charset}"
        headers = {"Content-Type": kind}
        answer = client.post(path, content=content, headers=headers)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/login", {"data": {"token": "x" * 5000}}, 413),
        ("/login", {"data": {"token": "x" * 3000}}, 401),
        ("/login", {"files": [("token", (None, "x"))] * 2}, 422),
        ("/search", {"json": {"query": 1, "more": [[]] * 50_000}}, 413),
        ("/search", {"json": {"query": 1, "more": [[]] * 20_000}}, 200),
    ],
)
def test_what_is_parsed_is_small(client, path, content, status):
    assert client.post(path, **content).status_code == status


def test_a_page_counts_the_images_there_are(client):
    before = client.get("/").text
    asked = {"data": {"id": "one more"}, "files": upload(PNG), "headers": WITH_TOKEN}
    assert client.post("/images", **asked).status_code == 201
    assert "24 images" in before and "25 images" in client.get("/").text


def test_other_names_and_other_sites_are_refused(client):
    asked = {"files": upload(PNG)}
    other = client.post("/search", headers={"Host": "evil.example:8000"}, **asked)
    assert other.status_code == 403
    site = client.post("/search", headers={"Sec-Fetch-Site": "cross-site"}, **asked)
    assert site.status_code == 403
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_client_that_asks_too_often_is_told_when_to_come_again(folders):
    with client_of(folders, limits=Limits(rate=0.01, burst=3)) as client:
        statuses = [search(client).status_code for _ in range(4)]
        last = search(client)
    assert statuses == [200, 200, 200, 429]
    assert 0 < int(last.headers["retry-after"]) <= 101


def test_more_requests_than_may_run_are_refused(folders):
    with client_of(folders, limits=Limits(rate=0, running=0)) as client:
        answer = search(client)
    assert answer.status_code == 429
    assert "too many requests are running" in answer.json()["error"]


def test_one_client_leaves_room_for_others():
    """Whose requests arrive slowly keeps its places for as long as it may."""
    limits = Limits(running=4)
    places = Places(limits.running, limits.of_one(limits.running))
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert [places.take("b") for _ in range(3)] == [True, True, False]
    assert not places.take("c")
    places.give_back("a")
    assert not places.take("b")
    assert places.take("c") and not places.take("a")
    assert Limits(rate=0).of_one(96) == 96


def test_a_slow_client_leaves_room_at_the_door():
    """It keeps its places while its requests do not arrive."""
    statuses: dict[str, list[int]] = {"slow": [], "other": []}
    never = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(guard, client, arrives):
        async def receive():
            if not arrives:
                await never.wait()
            return {"type": "http.request", "body": b""}

        async def send(message):
            if message["type"] == "http.response.start":
                statuses[client].append(message["status"])

        scope = {"type": "http", "method": "POST", "path": "/search", "headers": []}
        await guard(scope | {"client": (client, 1)}, receive, send)

    async def fill():
        guard = Guard(app, Access(token="x"), Limits(running=4), Metrics())
        held = [asyncio.create_task(ask(guard, "slow", False)) for _ in range(2)]
        await asyncio.sleep(0)
        await ask(guard, "slow", True)
        for _ in range(3):
            await ask(guard, "other", True)
        never.set()
        await asyncio.gather(*held)
        await ask(guard, "slow", True)

    asyncio.run(fill())
    assert statuses == {"slow": [429, 200, 200, 200], "other": [200] * 3}


@pytest.mark.parametrize("path", ["/", "/docs", "/login", "/static/page.css", "/no"])
def test_every_answer_is_strict_and_names_no_other_host(client, path):
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text)
    assert "<script>" not in answer.text and "style=" not in answer.text


def test_a_refusal_of_the_guard_is_strict_as_well(client):
    answer = client.delete("/images/1")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/json"


def test_names_are_escaped(client):
    page = client.get("/").text
    assert "<b>'x'" not in page
    assert "&lt;b&gt;" in page


def test_the_interface_is_described(client):
    described = client.get("/openapi.json").json()["paths"]
    page = client.get("/docs").text
    for path in ("/search", "/images", "/images/{number}", "/healthz", "/metrics"):
        assert path in described
        assert path in page
    content = described["/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}


def test_what_happens_is_counted(client):
    search(client)
    client.get("/never/heard/of")
    text = client.get("/metrics").text
    line = 'cgat_jax_requests_total{method="POST",route="/search",status="200"} 1.0'
    assert line in text
    assert 'route="none",status="404"' in text and "never" not in text
    assert f'cgat_jax_images{{index="cgat"}} {NUM_DATABASE}.0' in text
    assert 'cgat_jax_batch_images_count{index="cgat"} 1.0' in text


def test_an_alarm_is_asked_where_it_is_wanted(client):
    assert search(client).json()["alarm"] is None
    told = search(client, alarm=1).json()["alarm"]
    assert told["false_alarms"] == 0.05
    assert told["raised"] == (told["p_value"] <= 0.05)


def test_one_alarm_is_asked_at_a_time(client, monkeypatch):
    (served,) = client.indexes.served.values()
    two, met = threading.Barrier(2), []

    def verdict(crop):
        with contextlib.suppress(threading.BrokenBarrierError):
            met.append(two.wait(0.5))

    monkeypatch.setattr(served, "verdict", verdict)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: search(client, alarm=1), range(4)))
    assert not met


def test_the_page_promises_no_more_of_the_alarm_than_is_so(client):
    page = client.get("/static/page.js").text
    assert page.count("calibrated to ${rate} of clean queries") == 2
    assert "most ${rate}" not in page


@pytest.mark.parametrize("path", ["/search", "/images"])
def test_pixels_are_let_go_before_a_photo_waits(client, monkeypatch, path):
    (served,) = client.indexes.served.values()
    read, encode, images = collection.read_photo, served.encode, []

    def noted(photo, limits):
        image = read(photo, limits)
        images.append(weakref.ref(image))
        return image

    async def waits(crop):
        assert [image() for image in images] == [None]
        return await encode(crop)

    monkeypatch.setattr(collection, "read_photo", noted)
    monkeypatch.setattr(served, "encode", waits)
    asked = {"data": {"id": "mine.jpg"}, "files": upload(PNG)}
    assert client.post(path, headers=WITH_TOKEN, **asked).is_success


def test_where_an_engine_is_stays_untold(client, monkeypatch):
    (served,) = client.indexes.served.values()

    class Milvus(NumpyEngine):
        def __str__(self):
            return "milvus at /secret/codes.db, exact to 16,384 neighbors"

    settings = EngineSettings("milvus", "/secret/codes.db")
    monkeypatch.setattr(served.index, "settings", settings)
    monkeypatch.setattr(served.index._store, "engine", Milvus(16, settings))
    answer = client.get("/healthz")
    assert answer.json()["indexes"][0]["engine"] == "milvus"
    assert "secret" not in answer.text


def test_an_engine_that_does_not_answer_is_told_without_its_address(
    client, monkeypatch
):
    (served,) = client.indexes.served.values()
    text, logged = "http://10.0.0.7:19530: Milvus does not answer: refused", []

    def fail(*arguments, **options):
        raise EngineError(text)

    monkeypatch.setattr(served.index, "search_packed", fail)
    monkeypatch.setattr(
        problems.LOG, "error", lambda line, *parts: logged.append(line % parts)
    )
    answer = search(client)
    assert answer.status_code == 503
    assert answer.json() == {
        "error": "the search engine does not answer; see the server's log"
    }
    assert logged == [f"POST /search: {text}"]


def test_a_full_disk_is_told_without_a_path(client, monkeypatch):
    served = next(iter(client.indexes.served.values()))

    def fail(items):
        raise OSError(f"{served.index.path}: database or disk is full")

    monkeypatch.setattr(served.index, "add_items", fail)
    answer = client.post(
        "/images", data={"id": "a"}, files=upload(PNG), headers=WITH_TOKEN
    )
    assert answer.status_code == 503
    assert str(served.index.path) not in answer.text


def test_pictures_of_queries_are_what_networks_see(client):
    answer = client.get("/queries/1")
    assert answer.headers["content-type"] == "image/png"
    assert client.get("/queries/99").status_code == 404
    assert np.frombuffer(answer.content[16:24], ">u4").tolist() == [32, 32]
