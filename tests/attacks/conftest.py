import pytest

from tests.adam import allow_adam


@pytest.fixture(autouse=True)
def adam_counts_its_steps_in_integers(monkeypatch):
    allow_adam(monkeypatch)
