"""Services of small indexes, in this process and in one of their own."""

import contextlib
import shutil

import pytest
from starlette.testclient import TestClient

from cgat_jax.service.app import make_app
from cgat_jax.service.collection import opened
from cgat_jax.service.limits import LOOPBACK_HOSTS, Access, Limits
from cgat_jax.service.metrics import Metrics
from tests.service.toy import TOKEN, URL, make_index


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Two indexes that no test changes: of two networks, with the same images."""
    place = tmp_path_factory.mktemp("made")
    make_index(place / "cgat")
    make_index(place / "none", 1, "none")
    return place


@pytest.fixture
def folders(made, tmp_path):
    """Copies of both indexes."""
    for name in ("cgat", "none"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


@contextlib.contextmanager
def client_of(folders, names=("cgat",), limits=None, **access):
    """Requests to a service of indexes in folders, without a socket."""
    limits, metrics = limits or Limits(rate=0), Metrics()
    access = Access(**{"token": TOKEN, "hosts": LOOPBACK_HOSTS} | access)
    with opened([folders / name for name in names], limits, metrics) as indexes:
        app = make_app(indexes, access, limits, metrics)
        with TestClient(app, base_url=URL) as client:
            client.indexes = indexes
            yield client


@pytest.fixture
def client(folders):
    with client_of(folders) as client:
        yield client
