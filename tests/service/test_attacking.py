"""Attacks of the page: those of ``cgat_jax.attack``, and what they find."""

import base64
import json

import jax
import numpy as np
import pytest

import cgat_jax as cj
from cgat_jax.attacks import resolve_budget
from cgat_jax.centers import center_codes
from cgat_jax.data.images import decode
from cgat_jax.errors import NonFiniteError
from cgat_jax.search.beside import load_alarm
from cgat_jax.service.attacking import WORST, Attacks
from cgat_jax.service.collection import opened
from cgat_jax.service.limits import Limits
from cgat_jax.service.metrics import Metrics
from cgat_jax.types import Bank
from tests.service.toy import CLASSES, photo

pytestmark = pytest.mark.slow

LEVELS = 8


@pytest.fixture(scope="module")
def attacks(made):
    folders = [made / "none", made / "cgat"]
    with opened(folders, Limits(), Metrics()) as indexes:
        yield Attacks(list(indexes.served.values()))


def run(attacks, choice, labels=("dog",), levels=LEVELS):
    steps, crops = [], attacks.crops(photo(77))
    results = list(
        attacks.run(crops, labels, choice, levels=levels, k=6, told=steps.append)
    )
    return results, steps


@pytest.mark.parametrize("name", ["noise", "cgat", "hag"])
def test_an_attack_is_the_librarys_own(attacks, name):
    served = attacks.served[1]
    crop = served.crop(photo(77))
    references = None
    if name == "cgat":
        codes, labels, _ = served.training
        bank = Bank(*(jax.numpy.float32(x) for x in (codes, labels)))
        hot = jax.numpy.array([[0.0, 1.0, 0.0]])
        references = center_codes(hot, bank, binary=True)
    steps = None if name == "noise" else resolve_budget(name, preset="fast").steps
    wanted = cj.attack(
        name,
        served.network,
        crop[None],
        references,
        epsilon=LEVELS / 255,
        steps=steps,
        settings=cj.AttackSettings(round_images=True),
    )

    made = attacks._attack(served, name, crop, ["dog"], LEVELS)

    np.testing.assert_array_equal(made, np.rint(np.asarray(wanted[0]) * 255))


def test_an_image_that_is_not_finite_is_not_shown(attacks, monkeypatch):
    """It was a black one."""
    served, crop = attacks.served[1], attacks.served[1].crop(photo(77))
    lost = np.full((1, *crop.shape), np.nan, np.float32)
    programs = {(served.network.model, "cgat"): lambda *given: lost}
    monkeypatch.setattr(attacks, "_programs", programs)
    with pytest.raises(NonFiniteError, match="cgat: the attacked image is not finite"):
        attacks._attack(served, "cgat", crop, ["dog"], LEVELS)


@pytest.mark.parametrize("levels", [0, 1, 16])
def test_the_ball_is_kept(attacks, levels):
    results, _ = run(attacks, "cgat", levels=levels)
    assert [result["levels"] for result in results] == [levels, levels]
    if not levels:
        for result in results:
            assert result["before"] == result["after"]


def test_the_worst_is_the_worst(attacks):
    def correct(result):
        return sum(row["correct"] for row in result["after"]["answers"])

    worst, steps = run(attacks, WORST)
    for name in ("noise", "cgat", "hag"):
        for one, other in zip(worst, run(attacks, name)[0], strict=True):
            assert correct(one) <= correct(other)
    assert min(steps) == 0 and max(steps) <= attacks.steps(WORST)
    assert len(set(steps)) > 100


def test_classes_of_a_photo_are_its_nearest_answers(attacks):
    results, _ = run(attacks, "cgat", labels=())
    for result in results:
        assert result["assumed"] and result["labels"]
        assert set(result["labels"]) <= set(CLASSES)
    assert not run(attacks, "cgat")[0][0]["assumed"]


def test_without_training_codes_only_attacks_that_need_none(folders):
    (folders / "cgat" / "training.json").unlink()
    with opened([folders / "cgat"], Limits(), Metrics()) as indexes:
        found = Attacks(list(indexes.served.values()))
        assert list(found.choices()) == ["noise", "hag", WORST]
        assert "CgAT" not in found.choices()[WORST]
        results, _ = run(found, WORST)
    assert json.dumps(results)


def test_the_alarm_looks_at_the_pixels_that_are_shown(attacks):
    for served, result in zip(attacks.served, run(attacks, "cgat")[0], strict=True):
        alarm = load_alarm(served.index, served.training)
        _, *rest = result["pictures"]
        shown = decode(base64.b64decode(rest[0].partition(",")[2]), "attacked")
        for moment, image in (("before", served.crop(photo(77))), ("after", shown)):
            report = alarm(served.network, image[None])
            told = result[moment]["alarm"]
            assert told["p_value"] == pytest.approx(report.p_value[0])
            assert told["raised"] == report.raised[0]
            assert told["false_alarms"] == 0.05


def test_networks_of_one_shape_share_their_programs(attacks):
    assert len(attacks._programs) == 4
    assert jax.numpy.isfinite(attacks._center(attacks.served[0], ["cat"])).all()
