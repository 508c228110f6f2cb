import jax
import pytest

from cgat_jax.models import prototype


@pytest.fixture(autouse=True)
def small_prototype_network_and_adam(monkeypatch):
    """Adam counts its steps in integers, which the strict promotion refuses."""
    monkeypatch.setattr(prototype, "HIDDEN", 32)
    with jax.numpy_dtype_promotion("standard"):
        yield
