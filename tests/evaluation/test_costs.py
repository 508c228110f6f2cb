"""Costs against operations counted by hand."""

import types

import pytest

from cgat_jax.errors import InputError
from cgat_jax.evaluation import costs
from cgat_jax.evaluation.costs import (
    PEAKS,
    forward_flops,
    gpu_speed,
    measured_speed,
    run_flops,
)
from cgat_jax.types import HashModel
from experiments.configs import coco, quickstart
from tests import tiny_config


def _vgg11_flops(bits):
    """Two operations a multiplication: convolutions by hand, then dense layers.

    Products with the zeros around an image are counted here, but not by XLA.
    """
    widths, side, channels, total = (64, 128, 256, 256, 512, 512, 512, 512), 224, 3, 0
    for number, width in enumerate(widths, start=1):
        total += 2 * 9 * channels * width * side**2
        channels = width
        if number in (1, 2, 4, 6, 8):
            side //= 2
    dense = 512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * bits
    return total + 2 * dense


def test_the_forward_pass_of_vgg11_is_counted_as_by_hand():
    counted = forward_flops(coco.get_config())
    assert counted == pytest.approx(_vgg11_flops(32), rel=0.05)
    assert counted == pytest.approx(15.21e9, rel=0.05)  # 7.605 GMAC


def test_cgats_thirty_epochs_on_coco_cost_what_the_formula_says():
    """20 forward passes an image and step, 10,000 images, 30 epochs: 91 PFLOP."""
    config = coco.get_config()
    config.evaluate.attacks, config.evaluate.sanity_queries = "", 0
    config.evaluate.worst_case_queries = 0
    encoded = 117_218 + 10_000 + 5_000
    training = run_flops(config, pretrains=False) - encoded * forward_flops(config)
    assert training == pytest.approx(91.3e15, rel=0.05)
    more = run_flops(config, pretrains=True) - run_flops(config, pretrains=False)
    assert more == pytest.approx(45.6e15, rel=0.05)


def test_attacks_cost_their_iterations_and_prosgan_its_training():
    config = quickstart.get_config()
    config.evaluate.sanity_queries = config.evaluate.worst_case_queries = 0
    forward = forward_flops(config)

    def cost(attacks):
        config.evaluate.attacks = attacks
        return run_flops(config, pretrains=False)

    nothing = cost("")
    assert cost("cgat") - nothing == pytest.approx(500 * 200 * forward)
    assert cost("square") - nothing == pytest.approx(500 * 5000 * forward)
    assert cost("nag") - nothing == pytest.approx(4 * (cost("cgat") - nothing))
    assert cost("prosgan") > cost("cgat")


@pytest.mark.slow
def test_the_measured_speed_is_that_of_a_computer():
    speed = measured_speed(tiny_config.get_config())
    assert 1e6 < speed < 1e16


class _Clock:
    """Rounds of known lengths, in seconds of the wall and of all cores together."""

    def __init__(self, wall, busy):
        self.rounds, self.calls = list(zip(wall, busy, strict=True)), 0

    def _now(self, kind):
        """A round begins at an even call, and ends with the one after it."""
        return sum(times[kind] for times in self.rounds[: (self.calls + 1) // 2])

    def perf_counter(self):
        return self._now(0)

    def process_time(self):
        now, self.calls = self._now(1), self.calls + 1
        return now


def _speed(monkeypatch, wall, busy):
    """Of a batch of 16 images at 1,000 operations a forward pass, on two cores."""
    clock = _Clock(wall, busy)
    model = HashModel(
        lambda key, images: ({}, {}),
        lambda params, stats, images: (images.reshape(len(images), -1), stats),
    )
    monkeypatch.setattr(costs, "make_model", lambda name, outputs: model)
    monkeypatch.setattr(costs, "forward_flops", lambda config: 1_000)
    monkeypatch.setattr(costs, "time", clock)
    monkeypatch.setattr(costs, "os", types.SimpleNamespace(cpu_count=lambda: 2))
    speed = measured_speed(tiny_config.get_config())
    assert clock.calls == 2 * len(wall)
    return speed


@pytest.mark.parametrize(
    ("wall", "busy", "seconds"),
    [
        ([3.0, 2.0, 5.0], [3.0, 2.4, 6.0], 1.2),  # half of the least CPU time
        ([3.0, 2.0, 5.0], [2.4, 3.0, 6.0], 1.2),  # whatever round that was in
        ([3.0, 2.0, 5.0], [0.1, 0.2, 0.3], 0.5),  # a quarter of the wall, at least
        ([0.5, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.6], 0.3),  # 1.5 seconds, at least
    ],
)
def test_the_measured_speed_is_the_work_by_the_time_of_the_best_round(
    monkeypatch, wall, busy, seconds
):
    """A gradient costs three forward passes."""
    speed = _speed(monkeypatch, wall, busy)
    assert speed == pytest.approx(16 * 3 * 1_000 / seconds)


def test_a_gpus_speed_is_a_share_of_its_peak_and_an_unknown_one_is_refused():
    assert gpu_speed("H100") == pytest.approx(0.3 * 494.7e12)
    assert all(gpu_speed(name) < peak * 1e12 for name, peak in PEAKS.items())
    with pytest.raises(
        InputError, match=r"unknown GPU 'h10'; known: \['a10', .*'h100'"
    ):
        gpu_speed("h10")
