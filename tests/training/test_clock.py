import math

import pytest

from cgat_jax.training import clock


def test_counts_steps_and_the_wait_for_their_data(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])

    def batches():
        for _ in range(6):
            now[0] += 0.5  # the loader's time
            yield "batch"

    watch = clock.StepClock()
    for step, _ in enumerate(watch.timed(batches()), start=1):
        now[0] += 1.5  # the device's
        if step % 3 == 0:
            assert watch.read(batch_size=8) == {
                "seconds/step": 2.0,
                "seconds/data": 0.5,
                "images_per_second": 4.0,
            }
    assert step == 6


def test_an_error_of_the_loader_comes_through():
    def batches():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(clock.StepClock().timed(batches()))


def test_reads_at_once_are_finite(monkeypatch):
    """No step and no time since the last: nothing is divided by zero."""
    monkeypatch.setattr(clock.time, "monotonic", lambda: 5.0)
    values = clock.StepClock().read(batch_size=8)
    assert len(values) == 3
    assert all(math.isfinite(value) and value >= 0 for value in values.values())
