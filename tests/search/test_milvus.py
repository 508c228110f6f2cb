"""What is Milvus's own: a server that is not there, other collections, many ties."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cgat_jax import Index
from cgat_jax.errors import EngineError, InputError
from cgat_jax.search import EngineSettings
from cgat_jax.search.engines import make_engine, pack_bits
from tests.search.networks import network, photos

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite", exc_type=ImportError)


@pytest.fixture
def server(tmp_path):
    """The address of a Milvus server of one process: pip install milvus==2.3.5."""
    pytest.importorskip("milvus", exc_type=ImportError)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = "import sys; from milvus import main; sys.exit(main())"
    command = [sys.executable, "-c", run, "--data", str(tmp_path / "data")]
    child = subprocess.Popen(
        [*command, "--proxy-port", str(port)], start_new_session=True
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.5)
    below = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    yield f"http://127.0.0.1:{port}"
    os.killpg(child.pid, signal.SIGTERM)
    child.wait(60)
    for pid in map(int, below):  # it leaves the server itself
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.long
def test_a_server_gives_what_loops_give(server, rng):
    """Distances and order, with a label, after removals, and to a second client."""
    settings = EngineSettings("milvus", server)
    engine, oracle = make_engine(32, settings), make_engine(32, EngineSettings("numpy"))
    kinds = np.where(rng.integers(2, size=(25, 32)), 1, -1)
    packed = pack_bits(kinds[rng.integers(25, size=3000)], 32)
    numbers, labels = np.arange(3000), [[i % 5] for i in range(3000)]

    def check(engine):
        for label in (None, 2):
            found = engine.search(packed[:5], 50, label)
            expected = oracle.search(packed[:5], 50, label)
            np.testing.assert_array_equal(found.distances, expected.distances)
            np.testing.assert_array_equal(found.numbers, expected.numbers)

    for each in (engine, oracle):
        each.add(numbers, packed, labels)
    check(engine)
    for each in (engine, oracle):
        each.remove(numbers[:700])
    check(engine)
    engine.close()
    again = make_engine(32, settings)
    assert len(again.numbers()) == 2300
    check(again)
    again.close()


def settings(tmp_path, collection="test"):
    return EngineSettings("milvus", str(tmp_path / "codes.db"), collection)


def test_all_that_are_as_near_as_the_last_are_asked_for(tmp_path):
    """Milvus gives equal distances in an order of its own."""
    engine = make_engine(8, settings(tmp_path))
    engine.add(np.arange(700), np.zeros((700, 1), np.uint8), [()] * 700)
    engine.remove(np.arange(10))
    found = engine.search(np.zeros((1, 1), np.uint8), 5)
    assert found.numbers.tolist() == [[10, 11, 12, 13, 14]]
    with pytest.raises(InputError, match="at most 16,384"):
        engine.search(np.zeros((1, 1), np.uint8), 16_385)
    engine.close()


def test_nobody_at_the_address_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=f"{uri}: Milvus does not answer"):
        make_engine(8, EngineSettings("milvus", uri))


def test_a_server_that_fails_is_told_without_its_address(tmp_path, caplog):
    """To whoever asks; its owner's log has all of it, and the index is as before."""
    index = Index.build(network(), photos(6), engine=settings(tmp_path))
    packed, uri = pack_bits(network().encode(photos(2)), 16), settings(tmp_path).uri
    expected = index.search_packed(packed, 6)

    def fail(*arguments, **options):
        raise ConnectionError(f"no answer of {uri}")

    def breaks(name):
        setattr(index.engine._client, name, fail)

    for call, broken in (
        (lambda: index.search_packed(packed, 2), "search"),
        (lambda: index.add(photos(1, seed=5), ["new"], [["a"]]), "upsert"),
        (lambda: index.remove([3]), "delete"),
    ):
        breaks(broken)
        caplog.clear()
        with pytest.raises(EngineError, match="Milvus.*does not answer") as error:
            call()
        assert uri not in str(error.value) and "\n" not in str(error.value)
        assert f"{uri}: Milvus does not answer: no answer of {uri}" in caplog.text
        assert len(index) == 6
        if broken != "search":  # then it is made anew, from what is there
            found = index.search_packed(packed, 6)
            assert found.ids == expected.ids
    (number,) = index.add(photos(1, seed=5), ["new"], [["a"]])  # as if never asked for
    assert number == 8
    assert index.search(photos(1, seed=5), 1, label="a").ids == [["new"]]
    index.remove([3, "new"])
    assert 3 not in index.search_packed(packed, 5).ids[0]
    index.close()


def test_a_collection_of_other_codes_is_refused(tmp_path):
    make_engine(8, settings(tmp_path)).close()
    with pytest.raises(InputError, match="no index of 16 bits"):
        make_engine(16, settings(tmp_path))
    make_engine(16, settings(tmp_path, "other")).close()


def test_indexes_of_one_server_do_not_mix(tmp_path):
    """Two of one collection would remove what the other added."""
    given = settings(tmp_path, "")
    one = Index.build(network(), photos(6), engine=given)
    two = Index.build(network(), photos(3, seed=2), engine=given)
    assert len(one.engine.numbers()) == 6 and len(two.engine.numbers()) == 3
    client = one.engine._client
    assert len(client.list_collections()) == 2
    two.close()
    assert len(client.list_collections()) == 1
    one.save(tmp_path / "a")
    first = Index.load(tmp_path / "a")
    first.save(tmp_path / "b")
    copy = Index.load(tmp_path / "b")
    first.add(photos(1, seed=5), ["new"])
    copy.remove([0, 1])
    assert len(first.engine.numbers()) == 7 and len(copy.engine.numbers()) == 4
    for index in (copy, first, one):
        index.close()
    with pytest.raises(InputError):
        Index.build(network(), photos(2), ["same", "same"], engine=given)
    again = Index.load(tmp_path / "a")
    assert len(again.engine.numbers()) == 7
    assert len(again.engine._client.list_collections()) == 2  # of a and b
    again.close()


def test_an_index_finds_its_codes_again_and_mends_what_differs(tmp_path):
    """A process may be killed between the catalogue and the server."""
    given = settings(tmp_path)
    index = Index.build(network(), photos(20), engine=given)
    index.save(tmp_path / "index")
    index.close()
    index = Index.load(tmp_path / "index")
    assert str(index.engine) == "milvus, exact to 16,384 neighbors"
    expected = index.search(photos(20)[:4], k=20)
    index.engine.remove(np.array([3, 4]))
    stray = pack_bits(np.ones((1, 16), np.int8), 16)
    index.engine.add(np.array([1000]), stray, [()])
    index.close()
    index = Index.load(tmp_path / "index")
    found = index.search(photos(20)[:4], k=20)
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.distances, expected.distances)
    index.close()
