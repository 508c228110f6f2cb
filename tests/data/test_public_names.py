"""Every name in a package's ``__all__`` is there."""

import importlib
import pkgutil

import pytest

import cgat_jax

PACKAGES = [
    "cgat_jax",
    *(m.name for m in pkgutil.walk_packages(cgat_jax.__path__, "cgat_jax.") if m.ispkg),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_names_exist(name):
    package = importlib.import_module(name)
    names = getattr(package, "__all__", [])
    assert [each for each in names if not hasattr(package, each)] == []
    assert len(set(names)) == len(names)


def test_packages_are_found():
    assert {"cgat_jax.data", "cgat_jax.attacks", "cgat_jax.losses"} <= set(PACKAGES)
