"""The attacks' public face: the evaluation's images, and clear refusals."""

import dataclasses
import doctest
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.attacks import ATTACKS, run
from cgat_jax.attacks import references as kinds
from cgat_jax.attacks.run import AttackSettings, attack
from cgat_jax.data import load_dataset
from cgat_jax.data.images import center_crop
from cgat_jax.errors import InputError, NonFiniteError
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.rng import device_stream
from cgat_jax.training.initial_state import build_network, fresh_weights
from cgat_jax.types import HashModel, PyTree
from tests import tiny_config
from tests.programs import ROOT

WEIGHTS = jnp.array(np.random.default_rng(0).normal(size=(75, 6)) / 4, jnp.float32)
IMAGES = np.random.default_rng(1).random((4, 5, 5, 3)).astype(np.float32)
CODES = np.random.default_rng(2).choice([-1, 1], (4, 6))
LABELS = np.eye(4, 3, dtype=int)
BANK = CODES, LABELS


def encode(images):
    return images.reshape(len(images), -1) @ WEIGHTS


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """An evaluator of a drawn network, the network, and the pixels of its queries."""
    config = tiny_config.get_config()
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, weights="random")
    )
    folder = tmp_path_factory.mktemp("run")
    dataset = load_dataset(config.data, folder, progress=False)
    evaluator = Evaluator(config, dataset, sharding.make_mesh(), folder, lambda: None)
    model = build_network(config, config.model.bits)
    params, stats = fresh_weights(model, config)
    params["head"] = params["head"] | {"kernel": 30 * params["head"]["kernel"]}
    encoded = evaluator.encoded("none", model, (params, stats))
    side = config.data.crop_size
    pixels = [center_crop(dataset.read(int(p)), side) for p in dataset.split.query]
    return evaluator, encoded, np.stack(pixels)


@pytest.mark.long
@pytest.mark.parametrize("name", ["noise", "cgat", "sdha"])
def test_images_are_the_evaluations_to_the_bit(evaluation, name):
    evaluator, encoded, pixels = evaluation
    result = evaluator.attacker.run(name, encoded, keep=len(pixels))
    given = evaluator.attacker.given(name, encoded).rows
    labels = ATTACKS[name].references == kinds.LABELS
    found = attack(
        name,
        lambda images: encoded.model.apply(*encoded.network, images)[0],
        pixels,
        None if name == "noise" else given,
        bank=evaluator.references.bank(encoded.codes) if labels else None,
        steps=None if name == "noise" else evaluator.config.evaluate.steps,
        key=device_stream(evaluator.config.seed, name),
        settings=AttackSettings(batch_size=evaluator.config.evaluate.batch_size),
    )
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, result.images)
    moved = found - pixels / np.float32(255)
    np.testing.assert_allclose(
        np.abs(moved).max(axis=(1, 2, 3)), result.linf, atol=1e-6
    )


@pytest.mark.slow
def test_by_default_it_is_the_evaluation_of_seed_0_with_the_attacks_own_steps():
    keys = device_stream(0, "cgat")
    given = "cgat", encode, IMAGES, CODES
    default = attack(*given)
    np.testing.assert_array_equal(default, attack(*given, key=keys, steps=100))
    raw = attack(*given, key=jax.random.key_data(keys))
    np.testing.assert_array_equal(default, raw)
    other = attack(*given, key=jax.random.key(1), steps=1)
    assert (other != attack(*given, steps=1)).mean() > 0.5


@pytest.mark.slow
def test_the_size_of_the_batch_and_the_type_of_the_pixels_change_nothing():
    pixels = np.round(IMAGES * 255).astype(np.uint8)
    whole = attack("cgat", encode, pixels, CODES, steps=5)
    parts = attack(
        *("cgat", encode, pixels / np.float32(255), CODES),
        steps=5,
        settings=AttackSettings(batch_size=3),
    )
    np.testing.assert_allclose(whole, parts, atol=1e-6)


@pytest.mark.slow
def test_own_codes_are_computed_where_they_are_left_out():
    own = np.sign(encode(IMAGES))
    given = attack("apgd_opposite", encode, IMAGES, own, steps=5)
    sizes = []

    def counted(images):
        sizes.append(len(images))
        return encode(images)

    found = attack("apgd_opposite", encode, IMAGES, steps=5)
    np.testing.assert_array_equal(given, found)
    settings = AttackSettings(batch_size=2)
    found = attack("apgd_opposite", counted, IMAGES, steps=5, settings=settings)
    np.testing.assert_allclose(found, given, atol=1e-6)
    assert max(sizes) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p2p", "nag", "saat_targeted", "apgd_anchor"])
def test_targeted_attacks_approach_their_references_and_others_leave_them(name):
    def agreement(images):
        return float((np.tanh(encode(images)) * CODES).mean())

    before = agreement(IMAGES)
    assert agreement(attack(name, encode, IMAGES, CODES, steps=20)) > before
    assert agreement(attack("apgd", encode, IMAGES, CODES, steps=20)) < before


@pytest.mark.slow
def test_settings_are_followed():
    def run_with(**settings):
        return attack(
            *("cgat", encode, IMAGES, CODES),
            steps=1,
            epsilon=0.1,
            settings=AttackSettings(**settings),
        )

    moved = run_with(random_start=False, step_size=0.02) - IMAGES
    np.testing.assert_allclose(np.abs(moved).max(), 0.02, atol=1e-6)
    rounded = np.asarray(run_with(round_images=True)) * 255
    np.testing.assert_allclose(rounded, np.round(rounded), atol=1e-4)
    np.testing.assert_array_equal(
        attack("cgat", encode, IMAGES, CODES, epsilon=0.0, steps=3), IMAGES
    )


def test_a_trained_network_is_taken_as_one():
    class Trained(NamedTuple):
        model: HashModel
        params: PyTree
        stats: PyTree

    model = HashModel(None, lambda params, stats, images: (encode(images), stats))
    found = attack("cgat", Trained(model, {}, {}), IMAGES, CODES, steps=2)
    np.testing.assert_array_equal(found, attack("cgat", encode, IMAGES, CODES, steps=2))


def without_gradient(images):
    """Finite logits; the gradient of one pixel is NaN."""
    return encode(images.at[:, 0, 0, 0].add(jnp.sqrt(0 * images[:, 0, 0, 0])))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, entry in ATTACKS.items()
        if name != "noise" and not entry.black_box and not name.startswith("prosgan")
    ],
)
def test_no_attack_by_gradients_passes_over_one_that_is_no_number(name):
    """APGD gave its start in silence, the others images that were NaN."""
    rows, bank = CODES, None
    if ATTACKS[name].references == kinds.NOTHING:
        rows = None
    if ATTACKS[name].references == kinds.LABELS:
        rows, bank = LABELS, BANK
    with pytest.raises(NonFiniteError, match=f"{name}: attacked images are not"):
        attack(name, without_gradient, IMAGES, rows, bank=bank, steps=2)


def test_images_that_are_not_finite_are_refused_outside_of_a_trace():
    pixels = np.round(IMAGES * 255).astype(np.uint8)

    def found(images):
        return attack("cgat", without_gradient, images, CODES, steps=1)

    with pytest.raises(NonFiniteError, match="cgat: attacked images are not finite"):
        found(pixels)
    assert jnp.isnan(jax.jit(found)(pixels)).any()


def test_own_codes_have_no_values_in_a_trace_and_are_numbers_outside():
    pixels = np.round(IMAGES * 255).astype(np.uint8)

    def found(images):
        return attack("apgd_opposite", encode, images, steps=2)

    np.testing.assert_allclose(jax.jit(found)(pixels), found(pixels), atol=1e-6)
    with pytest.raises(NonFiniteError, match="apgd_opposite: the network's logits are"):
        attack("apgd_opposite", lambda x: encode(x) * np.nan, IMAGES, steps=2)


WRONG_TYPES = {
    "key=0": "key: expected jax.random.key(SEED) or None, got 0",
    "key=np.int64(0)": "key: expected jax.random.key(SEED) or None, got",
    "key=np.zeros(3)": "key: expected jax.random.key(SEED) or None, got",
    "key=jax.random.key(1)": "",
    "key=jax.random.PRNGKey(1)": "",
    "steps=2.5": "steps: expected int, got 2.5",
    "epsilon='8/255'": "epsilon: expected float, got '8/255'",
    "settings={'batch_size': 2}": "settings: expected AttackSettings(...) or None, got",
    "settings=S(batch_size=2.0)": "settings.batch_size: expected int, got 2.0",
    "settings=S(random_start=1)": "settings.random_start: expected bool, got 1",
    "steps=np.int64(2), epsilon=np.float32(0.1)": "",
    "settings=S(batch_size=np.int32(1), step_size=np.float32(0.01))": "",
}
_TRIED = """
import sys, jax, numpy as np
from cgat_jax import AttackSettings as S, attack
def encode(images):
    return images.reshape(len(images), -1)[:, :4] - 0.5
images = np.full((2, 4, 4, 3), 0.4, np.float32)
codes = -np.ones((2, 4), np.float32)
for text in sys.argv[1:]:
    try:
        found = eval(f"attack('cgat', encode, images, codes, {text})")
        assert np.abs(found - images).max() > 0
        print()
    except ValueError as error:
        print(error)
"""


def test_other_types_are_refused_in_one_line():
    """In a process of its own: in this one all types are checked before any call."""
    command = [sys.executable, "-c", _TRIED, *WRONG_TYPES]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    said = done.stdout.splitlines()
    assert len(said) == len(WRONG_TYPES), done.stderr
    for line, expected in zip(said, WRONG_TYPES.values(), strict=True):
        assert line.startswith(expected) and bool(line) == bool(expected)


def _given(**changes):
    return {"name": "cgat", "encode": encode, "images": IMAGES, "references": CODES} | (
        changes
    )


REFUSED = {
    "unknown attack 'cgta'.*did you mean 'cgat'": {"name": "cgta"},
    "worst_case is no single attack.*benchmark": {"name": "worst_case"},
    "prosgan trains a generator.*benchmark": {"name": "prosgan"},
    "expected a function from images": {"encode": 3},
    "JAX cannot trace it": {"encode": lambda x: np.asarray(x)[:, 0, 0]},
    r"expected logits \[2, K\].*got \[2, 5, 5, 3\]": {"encode": lambda x: x},
    "got tuple": {"encode": lambda x: (encode(x), 0)},
    "of a floating type, got int32": {"encode": lambda x: encode(x).astype(int)},
    r"got \[4, 75\]": {"images": IMAGES.reshape(4, 75)},
    "channels come last": {"images": IMAGES.transpose(0, 3, 1, 2)},
    r"expected values in \[0, 1\], got -0.9.* to 1.9.*normalize": {
        "images": IMAGES * 3 - 1
    },
    "expected values in .*nan": {"images": IMAGES * np.nan},
    "uint8 in 0 to 255, got int32": {"images": np.ones((2, 5, 5, 3), np.int32)},
    "references: cgat needs codes": {"references": None},
    "references: noise takes none": {"name": "noise"},
    r"here \[4, 6\], got \[4, 5\]": {"references": CODES[:, :5]},
    "of {-1, 0, 1}, found the value 0.5": {"references": CODES / 2},
    "multi-hot labels.* found the value -1": {"name": "sdha", "bank": BANK},
    r"bank: sdha needs \(codes": {"name": "sdha", "references": LABELS},
    "bank: cgat takes none": {"bank": BANK},
    r"bank codes: .* got \[4, 5\]": {
        "name": "sdha",
        "references": LABELS,
        "bank": (CODES[:, :5], LABELS),
    },
    "bank labels: .* found the value 2": {
        "name": "apgd_ap",
        "references": LABELS,
        "bank": (CODES, 2 * LABELS),
    },
    "epsilon: expected a radius from 0 to 1.*got 8; eight": {"epsilon": 8.0},
    "steps: expected 0 or more": {"steps": -1},
    "settings.relaxation: expected one of": {
        "settings": AttackSettings(relaxation="x")
    },
    "saat compares codes of about 1": {
        "name": "saat",
        "settings": AttackSettings(relaxation="logits"),
    },
    "steps is not used by noise: leave it out": {
        "name": "noise",
        "references": None,
        "steps": 3,
    },
    "settings.step_size is not used by apgd: leave": {
        "name": "apgd",
        "settings": AttackSettings(step_size=0.01),
    },
    "settings.step_size is not used by hag: leave": {
        "name": "hag",
        "references": None,
        "settings": AttackSettings(step_size=0.01),
    },
    "settings.random_start is not used by square: leave": {
        "name": "square",
        "settings": AttackSettings(random_start=False),
    },
    "settings.relaxation is not used by noise: leave": {
        "name": "noise",
        "references": None,
        "settings": AttackSettings(relaxation="tanh"),
    },
    "step_size: expected a step above 0.*, got 0$": {
        "settings": AttackSettings(step_size=0.0)
    },
    "step_size: expected a step above 0.*, got -0.01$": {
        "settings": AttackSettings(step_size=-0.01)
    },
    "step_size: expected a step above 0.*, got nan$": {
        "settings": AttackSettings(step_size=float("nan"))
    },
    "step_size: expected .* at most 1, .* got 2$": {
        "settings": AttackSettings(step_size=2.0)
    },
    "batch_size: expected 1 or more": {"settings": AttackSettings(batch_size=0)},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(message):
    with pytest.raises(InputError, match=message) as refused:
        attack(**_given(**REFUSED[message]))
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_the_example_runs():
    result = doctest.testmod(run)
    assert result.attempted > 5 and not result.failed
