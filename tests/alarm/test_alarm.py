"""The alarm of a small network: statistics, what it is bound to, and what is stored."""

import doctest
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.alarm import Alarm, conformal, label_set_centers, unusual
from cgat_jax.alarm import alarm as alarm_module
from cgat_jax.alarm.unusual import NAMES, nearest_distances, statistics
from cgat_jax.alarm.views import FILTERED, MOVED, NOISE, VIEWS, view_images
from cgat_jax.centers import center_codes
from cgat_jax.errors import DamagedFileError, InputError, NonFiniteError
from cgat_jax.evaluation.network import Network
from cgat_jax.models.network_file import network_shapes, new_card
from cgat_jax.retrieval import pack_codes
from cgat_jax.types import Bank
from tests.reference import alarm as reference

CARD = new_card(backbone="small", bits=16, image_size=20, crop_size=16)


def make_network(seed, card=CARD):
    rng = np.random.default_rng(seed)
    params, stats = jax.tree.map(
        lambda leaf: jnp.array(rng.normal(0, 0.1, leaf.shape), leaf.dtype),
        network_shapes(card),
    )
    return Network(params, stats, card)


def smooth_images(rng, count, side=16):
    """Blocks of 4 x 4 pixels, uint8."""
    blocks = rng.integers(0, 256, (count, side // 4, side // 4, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(scope="module")
def net():
    return make_network(0)


@pytest.fixture(scope="module")
def data(net):
    """Clean queries, others, database codes, and centers of two classes."""
    rng = np.random.default_rng(5)
    images = smooth_images(rng, 140)
    codes = net.encode(images[60:])
    labels = np.eye(2)[rng.integers(0, 2, len(codes))]
    return images[:40], images[40:60], codes, label_set_centers(codes, labels)


@pytest.fixture(scope="module")
def alarm(net, data):
    clean, _, codes, centers = data
    return Alarm.calibrate(net, clean, codes, centers)


@pytest.mark.slow
def test_the_examples_run():
    for module in (alarm_module, conformal, unusual):
        done = doctest.testmod(module)
        assert done.attempted and not done.failed


@pytest.mark.slow
def test_views_are_the_changes_that_they_are_called(rng):
    images = rng.random((2, 5, 7, 3)).astype(np.float32)
    own, *views = np.asarray(view_images(jnp.array(images)))
    named = dict(zip(VIEWS, views, strict=True))
    np.testing.assert_array_equal(own, images)
    np.testing.assert_array_equal(named["flip"], images[:, :, ::-1])
    for name, axis, way in (
        *(("down", 1, 1), ("up", 1, -1)),
        *(("right", 2, 1), ("left", 2, -1)),
    ):
        wide = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
        rolled = np.roll(wide, way, axis)[:, 1:-1, 1:-1]
        np.testing.assert_array_equal(named[name], rolled)
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    blurred = sum(
        (2 - abs(i)) * (2 - abs(j)) / 16 * np.roll(wide, (i, j), (1, 2))
        for i, j in around
    )
    np.testing.assert_allclose(named["blur"], blurred[:, 1:-1, 1:-1], rtol=1e-5)
    noise = named["noise"] - images
    assert np.abs(noise).max() <= NOISE + 1e-6
    inside = (images > NOISE) & (images < 1 - NOISE)
    np.testing.assert_allclose(np.abs(noise[inside]), NOISE, rtol=1e-4)
    opposite = named["opposite noise"] - images
    np.testing.assert_allclose(opposite[inside], -noise[inside], rtol=1e-4)
    assert abs(np.sign(noise[0]).mean()) < 0.5
    assert min(view.min() for view in views) >= 0
    assert max(view.max() for view in views) <= 1


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("size", [3, 10, 40])
def test_statistics_are_those_of_the_definitions(rng, zeros, size):
    logits = rng.normal(size=(1 + len(VIEWS), 6, 12)).astype(np.float32)
    low = -1 if zeros else 0
    draw = rng.integers(low, 2, (size + 2, 12))
    codes = draw if zeros else 2 * draw - 1
    database, centers = codes[:size], codes[size:]
    found = statistics(logits, pack_codes(database), pack_codes(centers))
    moved = range(1, 1 + len(MOVED))
    filtered = range(1 + len(MOVED), 1 + len(VIEWS))
    for number, row in enumerate(found):
        code, own = np.sign(logits[0, number]), logits[:, number]
        expected = [
            reference.nearest_distance(code, database, 10),
            reference.nearest_distance(code, centers, 1),
            reference.change(own, moved),
            reference.change(own, filtered),
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-12)
    without = statistics(logits, pack_codes(database))
    np.testing.assert_array_equal(without, found[:, [0, 2, 3]])
    assert len(NAMES) == found.shape[1] and len(FILTERED) == len(filtered)


def test_distances_by_hand():
    queries = pack_codes(np.array([[1, 1, 1, 1], [1, 1, 1, -1]]))
    database = pack_codes(np.array([[1, 1, 1, 1], [-1, -1, 1, 1], [1, 1, 1, -1]]))
    assert nearest_distances(queries, database, 1).tolist() == [0, 0]
    assert nearest_distances(queries, database, 2).tolist() == [1 / 8, 1 / 8]
    assert nearest_distances(queries, database, 9).tolist() == [3 / 12, 4 / 12]


@pytest.mark.slow
def test_centers_are_those_of_the_label_sets_that_occur(rng):
    codes = rng.choice([-1, 1], (30, 8))
    labels = rng.integers(0, 2, (30, 3)) * (np.arange(30) > 3)[:, None]
    sets = {tuple(row) for row in labels.tolist()} - {(0, 0, 0)}
    bank = Bank(jnp.array(codes, jnp.float32), jnp.array(labels, jnp.float32))
    wanted = center_codes(jnp.array(sorted(sets), jnp.float32), bank, binary=True)
    found = label_set_centers(codes, labels)
    with pytest.raises(InputError, match="labels: no image has a label"):
        label_set_centers(codes, np.zeros_like(labels))
    assert {*map(tuple, found.tolist())} == {*map(tuple, np.asarray(wanted).tolist())}


@pytest.mark.slow
def test_the_report_is_that_of_the_networks_own_logits(net, data, alarm):
    _, others, codes, centers = data
    report = alarm(net, others)
    images = jnp.array(others, jnp.float32) / 255
    logits = np.stack([net.logits(np.asarray(v)) for v in view_images(images)])
    wanted = statistics(logits, pack_codes(codes), pack_codes(centers))
    np.testing.assert_allclose(report.statistics, wanted, atol=1e-5)
    np.testing.assert_array_equal(report.codes, net.encode(others))
    for row, each, whole in zip(
        report.statistics, report.p_values, report.p_value, strict=True
    ):
        expected, expected_whole = reference.p_values(alarm.content.clean, row)
        assert each.tolist() == expected and whole == expected_whole
    np.testing.assert_array_equal(report.raised, report.p_value <= 0.05)
    assert report.names == NAMES


def test_an_image_unlike_all_others_raises_the_alarm(net, data, alarm, rng):
    """Noise of single pixels, where all clean images are blocks of 4 x 4."""
    noise = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    assert alarm(net, noise).raised.mean() > 0.9
    assert alarm(net, data[1]).raised.mean() < 0.3


def test_a_database_image_at_its_classs_center_raises_none(net):
    """Its code is the center and that of its ten neighbors, and nothing moves it."""
    rng = np.random.default_rng(2)
    plain = np.full((1, 16, 16, 3), 128, np.uint8)
    code = net.encode(plain)
    database = np.concatenate([code, -code]).repeat(12, axis=0)
    centers = label_set_centers(database, np.eye(2).repeat(12, axis=0))
    assert (centers == code).all(axis=1).any()
    alarm = Alarm.calibrate(net, smooth_images(rng, 60), database, centers)
    report = alarm(net, plain)
    assert not report.raised.any()
    assert report.statistics[0, :3].tolist() == [0, 0, 0]
    assert report.p_values[0, :3].tolist() == [1, 1, 1]


def test_a_larger_rate_keeps_every_alarm(net, data, rng):
    clean, others, codes, centers = data
    images = np.concatenate([others, rng.integers(0, 256, others.shape, np.uint8)])
    before = np.zeros(len(images), bool)
    for rate in (0.03, 0.05, 0.2, 0.5, 0.9):
        alarm = Alarm.calibrate(net, clean, codes, centers, false_alarms=rate)
        raised = alarm(net, images).raised
        assert (raised | ~before).all()
        before = raised
    assert before.mean() > 0.5


def test_the_order_of_calibration_and_the_batches_change_nothing(net, data, alarm):
    clean, others, codes, centers = data
    other = Alarm.calibrate(net, clean[::-1], codes, centers)
    assert other.to_json() == alarm.to_json()
    found, again = alarm(net, others), alarm(net, others[::-1], batch_size=16)
    np.testing.assert_array_equal(found.p_value, again.p_value[::-1])
    single = [alarm(net, others[i : i + 1], batch_size=1) for i in range(3)]
    for number, report in enumerate(single):
        np.testing.assert_allclose(
            report.statistics[0], found.statistics[number], atol=1e-6
        )


@pytest.mark.parametrize("known", [True, False])
def test_what_is_stored_is_the_alarm(net, data, known):
    clean, others, codes, centers = data
    alarm = Alarm.calibrate(net, clean, codes, centers if known else None)
    text = json.dumps(alarm.to_json(), allow_nan=False)
    again = Alarm.from_json(json.loads(text), codes)
    assert again.to_json() == alarm.to_json()
    assert again.names == (NAMES if known else ("neighbors", "moved", "filtered"))
    for found, other in zip(alarm(net, others), again(net, others), strict=True):
        np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda x: x.pop("sha256"),
        lambda x: x.update(sha256="0" * 64),
        lambda x: x.update(false_alarms=0.5),
        lambda x: x["clean"]["moved"].__setitem__(0, 0.9),
        lambda x: x["centers"].pop(),
        lambda x: x.pop("network_sha256"),
    ],
)
def test_a_damaged_one_is_refused(data, alarm, damage):
    content = json.loads(json.dumps(alarm.to_json()))
    damage(content)
    with pytest.raises(DamagedFileError, match="^alarm: damaged"):
        Alarm.from_json(content, data[2])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2}, "another version"),
        ({"clean": []}, "damaged"),
        ({"clean": {"moved": [1.0]}}, "damaged"),
        ({"centers": ["+x"]}, "damaged"),
        ({"centers": ["+-", "+"]}, "damaged"),
        ({"network_sha256": 3}, "damaged"),
        ({"false_alarms": "often"}, "damaged"),
        ({"false_alarms": 2.0}, "damaged"),
    ],
)
def test_a_sealed_one_that_is_no_alarm_is_refused(data, alarm, change, what):
    from cgat_jax.files.io import seal_of

    content = alarm.to_json() | change
    content["sha256"] = seal_of(content)
    with pytest.raises(InputError, match=what):
        Alarm.from_json(content, data[2])


def test_it_is_bound_to_network_and_database(net, data, alarm):
    other = make_network(1)
    with pytest.raises(InputError, match="not the network that the alarm"):
        alarm(other, data[1])
    same = Network(net.params, net.stats, CARD | {"defense": "cgat"})
    assert not np.isnan(alarm(same, data[1]).p_value).any()
    with pytest.raises(InputError, match="other database codes"):
        Alarm.from_json(alarm.to_json(), data[2][1:])


def test_what_does_not_fit_is_refused(net, data, alarm):
    clean, others, codes, centers = data
    with pytest.raises(InputError, match="give 19 or more"):
        Alarm.calibrate(net, clean[:18], codes)
    with pytest.raises(InputError, match="database_codes: expected 16 columns"):
        Alarm.calibrate(net, clean, codes[:, :8])
    with pytest.raises(InputError, match="centers: expected 16 columns"):
        Alarm.calibrate(net, clean, codes, centers[:, 1:])
    with pytest.raises(InputError, match="database_codes: expected entries"):
        Alarm.calibrate(net, clean, codes * 2)
    with pytest.raises(InputError, match="batch_size"):
        alarm(net, others, batch_size=0)
    with pytest.raises(InputError, match="image 0: expected RGB"):
        alarm(net, others[..., :2])
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, net.params)
    with pytest.raises(NonFiniteError, match="not finite"):
        Alarm.calibrate(Network(broken, net.stats, CARD), clean, codes)


def test_no_image_is_an_empty_report(net, alarm):
    report = alarm(net, np.zeros((0, 16, 16, 3), np.uint8))
    assert report.raised.shape == (0,) and report.codes.shape == (0, 16)


def test_several_threads_may_ask_at_once(net, data, alarm):
    images, found = data[1], {}

    def ask(number):
        found[number] = alarm(net, images[number : number + 5], batch_size=4)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, report in found.items():
        alone = alarm(net, images[number : number + 5], batch_size=4)
        np.testing.assert_array_equal(report.statistics, alone.statistics)
    assert len(found) == 8
