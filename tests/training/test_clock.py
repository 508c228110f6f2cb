import time

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


def test_reads_at_once_are_finite():
    watch, began = clock.StepClock(), time.monotonic()
    values = watch.read(batch_size=8)
    assert all(value >= 0 for value in values.values())
    assert time.monotonic() >= began
