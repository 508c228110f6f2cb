"""Strict numerics for every test, and the fixtures that all of them share."""

import os
import signal
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs are compiled once, for all workers, children and later runs of the tests.
_COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILED))
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import hypothesis
import jax
import numpy as np
import pytest

from experiments.xla import prefer_fast_cpu_convolutions

prefer_fast_cpu_convolutions()

# The same examples every time, so that a failure is a change's own;
# --hypothesis-profile=default draws new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser):
    for kind in ("slow", "long"):
        text = f"run {kind} tests too" + (", and slow ones" if kind == "long" else "")
        parser.addoption(f"--{kind}", action="store_true", help=text)


def pytest_configure(config):
    for number in (signal.SIGINT, signal.SIGHUP):  # a shell's "&", nohup: children
        if signal.getsignal(number) is signal.SIG_IGN:  # would ignore them as well
            signal.signal(number, lambda *_: None)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(config, items):
    with_long = config.getoption("--long")
    for kind, run in {
        "slow": with_long or config.getoption("--slow"),
        "long": with_long,
    }.items():
        if not run:
            for item in items:
                if item.get_closest_marker(kind):
                    item.add_marker(pytest.mark.skip(reason=f"{kind}: pass --{kind}"))


@pytest.fixture(scope="session")
def cache():
    """The folder of compiled programs, for runs that are given one."""
    return _COMPILED


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x64():
    """Double precision inside one test, for comparison with golden numbers."""
    with jax.enable_x64(True):
        yield
