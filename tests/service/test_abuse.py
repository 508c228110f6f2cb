"""The abuse of ``benchmarks.serve``, in short: nothing lost, nothing unanswered."""

import asyncio

import pytest

from benchmarks.serve_clients import Target, abuse, bad_kinds, unlike
from tests.service.process import serving
from tests.service.toy import make_index

pytestmark = pytest.mark.slow

COUNT = 520


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = make_index(tmp_path_factory.mktemp("abuse") / "index")
    arguments = [f"--index={folder}", "--noattacks", "--rate=0", "--megabytes=1"]
    with serving(*arguments, "--seconds=5", token="") as process:
        target = Target(process.port, process.process.pid)
        bad = bad_kinds(upload_bytes=10**6, seconds=5)
        asyncio.run(abuse(target, 130, bad))
        yield asyncio.run(abuse(target, COUNT, bad)), bad, process


def test_every_request_gets_the_answer_that_it_must(found):
    abused, bad, _ = found
    assert not list(unlike(abused, bad))
    assert sum(abused.counts.values()) == COUNT
    assert abused.counts["good", 200] == COUNT * 9 // 10
    assert all(abused.counts[kind.name, kind.status] == 4 for kind in bad)


def test_memory_stays(found):
    first, *_, last = found[0].memory
    assert last < first + 40 * 2**20


def test_it_goes_on_and_logs_no_mistake_of_its_own(found):
    *_, process = found
    assert process.client.get("/healthz").json()["status"] == "ready"
    assert "Traceback" not in process.errors
