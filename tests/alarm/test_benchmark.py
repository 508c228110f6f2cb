"""The alarm's benchmark on a tiny data set and an untrained network: every attack."""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import alarm as benchmark
from benchmarks.alarm_attacks import known, relaxed_statistics
from cgat_jax.alarm.unusual import statistics
from cgat_jax.alarm.views import VIEWS, view_images
from cgat_jax.attacks import ATTACKS
from cgat_jax.data import load_dataset
from cgat_jax.files import ownership
from cgat_jax.models.network_file import new_card
from cgat_jax.retrieval import pack_codes
from tests import tiny_config
from tests.adam import allow_adam
from tests.alarm.test_alarm import make_network


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "a.md"
    given = ["--workdir=RUN", f"--out={out}", "--steps=2", "--square=4"]
    given += ["--adaptive=3", f"--attacks={benchmark.NAMES},sdha"]
    return benchmark.arguments().parse_args(given)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    config = tiny_config.get_config()
    config.data.num_queries, config.data.num_database = 60, 90
    root = tmp_path_factory.mktemp("data")
    dataset = load_dataset(config.data, root, progress=False)
    card = new_card(backbone="small", bits=8, image_size=40, crop_size=32)
    return benchmark.Subject(make_network(3, card), config, dataset, 0.1)


@pytest.mark.long
def test_every_attack_has_its_line_on_the_page(subject, options, monkeypatch):
    allow_adam(monkeypatch)
    shown = []
    rows = benchmark.measure("none", subject, options, shown.append)
    assert rows == shown and all(row.count == 30 for row in rows)
    names = [row.attack for row in rows]
    assert names[0] == "clean" and names[-1] == "best adaptive"
    assert {*names[1:-5]} == {*options.attacks.split(",")} <= {*ATTACKS}
    clean, best = rows[0], rows[-1]
    assert clean.auroc == 0.5 and clean.passing == clean.passing_clean
    assert all(0 <= row.map <= 1 and 0 <= row.auroc <= 1 for row in rows)
    assert best.raised <= min(row.raised for row in rows[-5:-1])
    config = tiny_config.get_config()
    page = benchmark.report(options, config, (30, 30), rows)
    assert page.startswith(benchmark.TITLE) and "{" not in page
    assert page.count("\n| none |") == len(rows)


def test_the_written_page_is_our_own():
    page = Path(__file__).parents[2] / "docs" / "search_alarm.md"
    ownership.check_out_file(page, benchmark.TITLE)


@pytest.mark.slow
def test_queries_of_calibration_are_not_attacked(subject):
    clean = subject.alarm.content.clean
    found = subject.clean[0].statistics
    assert len(clean) == len(found) == 30
    assert not {*map(tuple, clean.tolist())} & {*map(tuple, found.tolist())}


@pytest.mark.slow
def test_an_evader_stays_in_the_ball_and_sees_the_alarms_statistics(subject):
    images = subject.evaded("mimic", 1.0, 3)
    change = np.abs(images.astype(int) - subject.pixels.astype(int))
    assert images.dtype == np.uint8 and 0 < change.max() <= 8
    logits = np.stack(
        [
            subject.network.logits(np.asarray(view))
            for view in view_images(jnp.array(images[:5], jnp.float32) / 255)
        ]
    )
    assert len(logits) == 1 + len(VIEWS)
    database = subject.codes["database"]
    inside = known(subject.alarm, database)
    wanted = statistics(
        logits, pack_codes(database), pack_codes(subject.alarm.content.centers)
    )
    found = relaxed_statistics(jnp.array(logits), inside)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_best_evader_passes_where_one_does():
    def tried(raised, p_value):
        return argparse.Namespace(
            raised=np.array(raised),
            p_value=np.array(p_value),
            _replace=lambda **found: argparse.Namespace(**found),
        )

    runs = [
        (tried([True, False, True], [0.1, 0.5, 0.1]), np.array([0.1, 0.6, 0.4])),
        (tried([False, False, True], [0.7, 0.8, 0.2]), np.array([0.9, 0.5, 0.3])),
    ]
    report, precision = benchmark.best_of(runs)
    assert report.raised.tolist() == [False, False, True]
    assert precision.tolist() == [0.9, 0.5, 0.3]
    assert report.p_value.tolist() == [0.7, 0.8, 0.2]
