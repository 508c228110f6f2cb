"""Work is queued a few steps ahead, and slow steps not at all: a stop waits for it."""

import jax
import pytest

from cgat_jax.training.run_loop import AHEAD, steps_ahead, wait_for_all_but


def test_slow_steps_are_not_queued():
    assert steps_ahead(0.001) == AHEAD > 0
    assert steps_ahead(60.0) == 0


@pytest.mark.parametrize("newest", [0, 1, 3])
@pytest.mark.parametrize("count", range(6))
def test_all_but_the_newest_are_waited_for(monkeypatch, newest, count):
    """Steps end in their order, so that the last of those is the one to wait for."""
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    wait_for_all_but(range(count), newest)
    assert waited == ([count - newest - 1] if count > newest else [])
