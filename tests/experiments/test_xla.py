import os
import subprocess
import sys

import jax
import jaxlib
import pytest

from experiments import xla

SETTING = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
needs_tested_jaxlib = pytest.mark.skipif(
    jaxlib.__version__ not in xla._TESTED_JAXLIB, reason="another jaxlib"
)


def in_new_process(lines, **environment):
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **environment}
    script = (
        "from experiments.xla import prefer_fast_cpu_convolutions as prefer\n" + lines
    )
    run = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@needs_tested_jaxlib
def test_this_jaxlib_accepts_the_setting():
    """It computes a convolution with the setting; a second call changes nothing."""
    lines = """
import os, jax, jax.numpy as jnp
print(prefer(), os.environ["XLA_FLAGS"])
x, kernel = jnp.ones((1, 1, 4, 4)), jnp.ones((1, 1, 2, 2))
print(jax.lax.conv(x, kernel, (1, 1), "VALID").max(), prefer())
"""
    assert in_new_process(lines) == ["True", SETTING, "4.0", "False"]


@pytest.mark.slow
@needs_tested_jaxlib
def test_flags_of_the_user_are_kept():
    lines = 'import os; print(prefer()); print(os.environ["XLA_FLAGS"])'
    theirs = "--xla_force_host_platform_device_count=2"
    assert in_new_process(lines, XLA_FLAGS=theirs) == ["True", theirs, SETTING]
    theirs = "--xla_cpu_experimental_ynn_fusion_type=+individual_dot"
    assert in_new_process(lines, XLA_FLAGS=theirs) == ["False", theirs]


def test_it_is_too_late_once_jax_has_started():
    lines = """
import os, jax
jax.devices()
print(prefer(), os.environ["XLA_FLAGS"] == "")
"""
    assert in_new_process(lines) == ["False", "True"]


@pytest.fixture
def unstarted(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(xla, "_has_started", lambda: False)
    monkeypatch.setattr(xla, "_TESTED_JAXLIB", (jaxlib.__version__,))
    return monkeypatch


@pytest.mark.parametrize(
    "platforms, plugins, expected",
    [
        ("cpu", True, True),
        ("cuda,cpu", False, False),
        ("", True, False),
        ("", False, True),
    ],
)
def test_accelerators_are_left_alone(platforms, plugins, expected, unstarted):
    class Config:
        jax_platforms = platforms

    unstarted.setattr(xla, "_has_plugins", lambda: plugins)
    unstarted.setattr(jax, "config", Config)
    assert xla.prefer_fast_cpu_convolutions() is expected
    assert os.environ["XLA_FLAGS"] == (SETTING if expected else "")


def test_untested_versions_are_left_alone(unstarted):
    unstarted.setattr(xla, "_TESTED_JAXLIB", ("0.0.1",))
    assert not xla.prefer_fast_cpu_convolutions()
    assert os.environ["XLA_FLAGS"] == ""
