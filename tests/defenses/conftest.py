import pytest

from cgat_jax.models import prototype
from tests.adam import allow_adam


@pytest.fixture(autouse=True)
def small_prototype_network_and_adam(monkeypatch):
    """Prototype networks of 32 hidden units; their Adam may promote types."""
    monkeypatch.setattr(prototype, "HIDDEN", 32)
    allow_adam(monkeypatch)
