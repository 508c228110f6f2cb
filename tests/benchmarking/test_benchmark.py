"""A benchmark of a given function: the evaluator's numbers, kept, saved and refused."""

import copy as copying
import dataclasses
import doctest
import json
import shutil
import sys
import tempfile
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.attacks import Budget
from cgat_jax.benchmarking import settings as benchmark_settings
from cgat_jax.benchmarking.benchmark import BenchmarkSettings, benchmark
from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.arrays import ArrayData, array_dataset
from cgat_jax.errors import ForeignFilesError, InputError, InUseError
from cgat_jax.evaluation import data_checks, transfer, worst_case
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.given_network import UNKNOWN, given_network
from cgat_jax.evaluation.measurement import measure
from cgat_jax.evaluation.network import Network
from cgat_jax.evaluation.sanity_measures import Curve
from cgat_jax.evaluation.worst_case import ENSEMBLE, EnsembleResult, WorstCase
from cgat_jax.files.io import read_sealed
from cgat_jax.files.locks import locked
from cgat_jax.files.ownership import claim_folder
from cgat_jax.report.names import GIVEN
from cgat_jax.training import checkpoint
from cgat_jax.types import HashModel
from tests.service import toy

RNG = np.random.default_rng(0)
LABELS = np.eye(3, dtype=np.uint8)[RNG.integers(0, 3, 40)]
COLORS = RNG.integers(60, 200, (3, 16, 16, 3))[LABELS.argmax(axis=1)]
IMAGES = (COLORS + RNG.integers(-50, 50, COLORS.shape)).astype(np.uint8)
WEIGHTS = jnp.array(RNG.normal(size=(768, 8)) / 16, jnp.float32)
DATA = ArrayData(
    query_images=IMAGES[:10],
    query_labels=LABELS[:10],
    database_images=IMAGES[10:],
    database_labels=LABELS[10:],
)
SETTINGS = BenchmarkSettings(steps=3, sanity_queries=0, batch_size=4, gallery=1)
GIVEN_ARGUMENTS = {"attacks": "noise,cgat", "settings": SETTINGS}


def linear(weights, images):
    return (images - 0.5).reshape(len(images), -1) @ weights


def encode(images):
    return linear(WEIGHTS, images)


class Trained(NamedTuple):
    """As a trained network of the library: arrays, and a card that describes them."""

    params: Any
    card: dict
    stats: Any = {}
    model: HashModel = HashModel(
        lambda key, images: (WEIGHTS, {}),
        lambda params, stats, images, *, key=None, mask=None: (
            linear(params, images),
            stats,
        ),
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "kept"
    return folder, benchmark(encode, DATA, workdir=folder, **GIVEN_ARGUMENTS)


@pytest.fixture
def copy(measured, tmp_path):
    shutil.copytree(measured[0], tmp_path / "copy")
    return tmp_path / "copy"


def _numbers(records):
    """What does not depend on the time, or on how a network is told from others."""
    left_out = ("seconds", "network_sha256", "backbone", "loss", "config_sha256")
    return [{k: v for k, v in r.items() if k not in left_out} for r in records]


@pytest.mark.slow
def test_numbers_are_those_of_the_evaluator_on_the_network_with_its_arrays(
    measured, tmp_path
):
    _, result = measured
    dataset, given = array_dataset(DATA), given_network(encode)
    settings = dataclasses.replace(SETTINGS, attacks="noise,cgat")
    config = benchmark_settings.config_of(settings, given, dataset, 16)
    own = Evaluator(config, dataset, sharding.make_mesh(), tmp_path, lambda: None)
    network = Trained.__new__.__defaults__[1], (WEIGHTS, {})
    found = measure(own, {UNKNOWN: network})
    assert _numbers(found["records"]) == _numbers(result.records)
    trained = Trained(WEIGHTS, {"backbone": "small", "loss": "dpsh", "crop_size": 16})
    again = benchmark(trained, DATA, **GIVEN_ARGUMENTS)
    assert _numbers(again.records) == _numbers(result.records)
    own = again.clean["network_sha256"]
    assert own != checkpoint.digest_of((WEIGHTS, {}))  # which do not say all
    assert own != result.clean["network_sha256"]
    assert (again.clean["backbone"], again.clean["loss"]) == ("small", "dpsh")


def test_the_result_has_the_records_and_their_numbers(measured):
    folder, result = measured
    kept = read_sealed(folder / "results.json")
    assert kept == {
        "records": result.records,
        "transfers": [],
        "sanity": [],
        "first_queries": [],
    }
    assert [r["attack"] for r in result.records] == ["clean", "noise", "cgat"]
    assert result.clean == result.records[0] and result.worst_case is None
    assert result.map("cgat") < result.map("clean") <= 1
    assert result.record("cgat")["budget"] == 8 / 255
    assert result.config.data.image_size == result.config.data.crop_size == 16
    head = result.clean
    assert (head["bits"], head["num_queries"], head["num_train"]) == (8, 10, 30)
    assert {head[key] for key in ("backbone", "loss", "defense")} == {GIVEN}
    assert "cgat" in repr(result) and len(repr(result)) < 200
    with pytest.raises(InputError, match="unknown attack 'hag'; known: .*noise"):
        result.map("hag")


def test_markdown_is_the_reports_table_under_its_warnings(measured):
    _, result = measured
    lines = result.to_markdown().splitlines()
    assert lines[0] == "| MAP, % | clean | random noise | CgAT's attack | chance |"
    assert f"| {100 * result.map('cgat'):.2f} |" in lines[2]
    warned = [record | {"warnings": ["no <b>"]} for record in result.records]
    text = dataclasses.replace(result, records=warned).to_markdown()
    assert text.startswith("Warning: no &lt;b>\n\n| MAP")


def test_the_same_call_reads_what_is_there_and_measures_the_rest(copy, monkeypatch):
    shutil.rmtree(copy / "evaluate" / "given-noise")
    seen, measure_one = [], Evaluator._measure

    def watch(self, folder, defense, attack, encoded):
        seen.append(attack)
        measure_one(self, folder, defense, attack, encoded)

    monkeypatch.setattr(Evaluator, "_measure", watch)
    benchmark(encode, DATA, workdir=str(copy), **GIVEN_ARGUMENTS)
    assert seen == ["noise"]


def test_another_network_other_data_or_settings_are_refused(copy):
    def again(function=encode, data=DATA, **changes):
        arguments = GIVEN_ARGUMENTS | {"workdir": copy} | changes
        return benchmark(function, data, **arguments)

    with pytest.raises(InputError, match="belongs to another network"):
        again(lambda images: -encode(images))
    other = IMAGES[:10].copy()
    other[0, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="made of other data"):
        again(data=dataclasses.replace(DATA, query_images=other))
    with pytest.raises(InputError, match="another configuration .*evaluate.epsilon"):
        again(epsilon=1 / 255)
    with locked(copy), pytest.raises(InUseError, match="in use by process"):
        again()
    foreign = copy / "evaluate"
    with pytest.raises(ForeignFilesError, match="not empty"):
        again(workdir=foreign)


def with_values(**values):
    """Settings as a user can make them, without the type checks of tests."""
    settings = copying.copy(SETTINGS)
    vars(settings).update(values)
    return settings


def test_numbers_of_arrays_are_settings_and_other_types_are_not():
    settings = with_values(seed=np.int64(3), threads=jnp.int32(1))
    made = benchmark_settings.changed(settings, np.float32(0.5), None)
    assert (made.epsilon, made.seed, made.threads) == (0.5, 3, 1)
    assert {type(made.epsilon), type(made.seed)} == {float, int}
    assert benchmark_settings.changed(settings, jnp.float32(1), None).epsilon == 1.0
    wrong = {"attacks": ["noise", "cgat"], "epsilon": "8/255", "top_k": "50"}
    for key, value in (wrong | {"num_queries": 10.0, "round_images": 1}).items():
        with pytest.raises(InputError, match=f"^{key}: expected [a-z]+, got"):
            benchmark(encode, DATA, settings=with_values(**{key: value}))


def test_processes_with_other_data_are_refused(tmp_path, monkeypatch):
    """Each gave its rows of a batch, and the mixture counted as the first one's."""
    monkeypatch.setattr(data_checks, "from_first", lambda make: "the first one's")
    with pytest.raises(InputError, match="other data"):
        benchmark(encode, DATA, workdir=tmp_path / "run", **GIVEN_ARGUMENTS)
    assert not (tmp_path / "run").exists()


def test_a_network_is_measured_as_its_card_says(tmp_path):
    toys = toy.network()
    net = Network(toys.params, toys.stats, toys.card | {"image_size": 40})
    sizes = Data(name="quickstart", num_queries=4, num_train=20, num_database=20)
    for stored in (40, 44):
        dataset = load_dataset(
            dataclasses.replace(sizes, image_size=stored),
            tmp_path / str(stored),
            progress=False,
        )
        if stored == 40:
            given = given_network(net)
            benchmark_settings.check_view(given, dataset, 32, whole=False)
            continue
        said = r"short side is 40 pixels, and that of these is 44: .*image_size=40"
        with pytest.raises(InputError, match=said):
            benchmark(net, dataset, attacks="noise", settings=SETTINGS)


def test_another_arithmetic_is_another_configuration():
    """Its records were those of the network in float32, without a word."""
    net = toy.network()
    half = Network(net.params, net.stats, net.card | {"dtype": "bfloat16"})
    dataset, dtypes = array_dataset(DATA), []
    for each in (net, half):
        given = given_network(each)
        made = benchmark_settings.config_of(SETTINGS, given, dataset, 32)
        dtypes.append(made.model.dtype)
    assert dtypes == ["float32", "bfloat16"] and net.sha256 == half.sha256


def test_the_same_arrays_in_another_program_are_another_network(tmp_path):
    """A purifier before a network's own arrays had the records of the network alone."""
    trained = Trained(WEIGHTS, {"crop_size": 16})

    def purified(params, stats, images, *, key=None, mask=None):
        return linear(params, jnp.round(images * 15) / 15), stats

    other = trained._replace(model=HashModel(trained.model.init, purified))
    arguments = {"attacks": "noise", "settings": SETTINGS, "workdir": tmp_path / "run"}
    first = benchmark(trained, DATA, **arguments)
    assert _numbers(benchmark(trained, DATA, **arguments).records) == _numbers(
        first.records
    )
    with pytest.raises(InputError, match="belongs to another network"):
        benchmark(other, DATA, **arguments)


def test_without_a_workdir_nothing_is_left(tmp_path, monkeypatch, measured):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = benchmark(encode, DATA, attacks="noise", settings=SETTINGS)
    assert not list(tmp_path.iterdir())
    assert _numbers(result.records) == _numbers(measured[1].records[:2])


def test_a_saved_folder_has_a_page_and_is_a_workdir(measured, tmp_path):
    kept, result = measured
    page = result.save(tmp_path / "saved")
    assert page == tmp_path / "saved" / "report" / "index.html"
    text = page.read_text()
    assert "A network that was given has 8-bit codes of images. 10 queries" in text
    assert "not measured" not in text and "data:image/png" in text
    assert "undefended" not in text
    results = tmp_path / "saved" / "results.json"
    assert results.read_bytes() == (kept / "results.json").read_bytes()
    again = benchmark(encode, DATA, workdir=tmp_path / "saved", **GIVEN_ARGUMENTS)
    assert again.records == result.records
    other = [record | {"network_sha256": "0" * 64} for record in result.records]
    before = results.read_bytes()
    with pytest.raises(InputError, match="belongs to another network"):
        dataclasses.replace(result, records=other).save(tmp_path / "saved")
    assert results.read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results.json").write_text("{}")
    with pytest.raises(ForeignFilesError, match="not empty"):
        result.save(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "results.json").read_text()) == {}
    claim_folder(tmp_path / "ours", "run")
    (tmp_path / "ours" / "report").mkdir()
    (tmp_path / "ours" / "report" / "index.html").write_text("mine")
    before = sorted((tmp_path / "ours").rglob("*"))
    with pytest.raises(ForeignFilesError, match="not empty"):
        result.save(tmp_path / "ours")
    assert sorted((tmp_path / "ours").rglob("*")) == before


def _one_attack(attack, score, holds_above):
    """An ensemble of one, quick to compile."""
    rows, worst = np.arange(len(holds_above)), WorstCase(len(holds_above))
    result = attack("apgd_opposite", Budget(steps=2, relaxation="unit"), rows, 0)
    worst.add(0, result, score(result.codes, rows))
    map_per_attack = dict.fromkeys(ENSEMBLE, float(worst.average_precision.mean()))
    return EnsembleResult(worst, map_per_attack, 0)


@pytest.mark.slow
def test_by_default_there_are_the_worst_case_and_the_checks(monkeypatch):
    monkeypatch.setattr(worst_case, "standard_v1", _one_attack)
    monkeypatch.setattr(transfer, "examine", lambda *_: ([], Curve([], [], [])))
    settings = BenchmarkSettings(steps=1, batch_size=10, gallery=0)
    result = benchmark(encode, DATA, settings=settings)
    measured = [record["attack"] for record in result.records]
    assert measured == ["clean", "noise", "cgat", "worst_case"]
    assert result.worst_case["others"] == ["noise", "cgat"]
    assert result.worst_case["map_with_others"] <= result.map("cgat")
    (checks,) = result.sanity
    assert checks["defense"] == UNKNOWN and checks["num_queries"] == 10


def test_arrays_are_seen_as_the_network_sees_photos():
    """Whole, if they are its crops; of a larger size only as it resizes them."""
    toys = toy.network()
    side = toys.card["crop_size"]
    net = Network(toys.params, toys.stats, toys.card | {"image_size": side + 4})

    def measure(size, **changes):
        images = np.random.default_rng(0).integers(0, 256, (24, size, size, 3), "uint8")
        labels = np.tile(np.eye(2, dtype=np.uint8), (12, 1))
        data = ArrayData(
            query_images=images[:4],
            query_labels=labels[:4],
            database_images=images[4:],
            database_labels=labels[4:],
        )
        settings = dataclasses.replace(SETTINGS, **changes)
        return benchmark(net, data, attacks="noise", settings=settings)

    measure(side)
    measure(side + 4, crop_size=side)
    with pytest.raises(InputError, match=f"resize them to {side + 4} and set crop_siz"):
        measure(side + 20)
    with pytest.raises(InputError, match=f"short side is {side + 4} pixels, and that"):
        measure(side + 20, crop_size=side)


def test_a_data_set_is_cropped_as_in_a_run(tmp_path):
    sizes = Data(name="quickstart", image_size=40, num_queries=4, num_train=20)
    dataset = load_dataset(
        dataclasses.replace(sizes, num_database=20), tmp_path, progress=False
    )
    settings = dataclasses.replace(SETTINGS, crop_size=16)
    result = benchmark(encode, dataset, attacks="noise", settings=settings)
    assert result.clean["dataset"] == "quickstart" and result.clean["bits"] == 8
    with pytest.raises(InputError, match="smaller than data.crop_size=224"):
        benchmark(lambda images: images[:, 0, :8, 0], dataset, settings=SETTINGS)
    bare = dataclasses.replace(dataset, digest=None)
    with pytest.raises(InputError, match="data set without a digest"):
        benchmark(encode, bare, settings=settings)


REFUSED = {
    "expected a function from images": {"encode": None},
    "JAX cannot trace it": {"encode": lambda images: np.asarray(images)[:, 0, 0]},
    r"expected logits \[2, K\].*got \[2\]": {
        "encode": lambda images: images[:, 0, 0, 0]
    },
    "are not all finite": {"encode": lambda images: encode(images) / 0},
    "sees images of 12 pixels, not of 16: .*set crop_size=12": {
        "encode": Trained(WEIGHTS, {"crop_size": 12})
    },
    "evaluate.epsilon: expected a number from 0 up to 1, got 8": {"epsilon": 8.0},
    "unknown attack 'cgta'.*did you mean": {"attacks": "cgta"},
    "unknown preset": {"settings": dataclasses.replace(SETTINGS, preset="fats")},
    "seed: expected a number": {"settings": dataclasses.replace(SETTINGS, seed=-1)},
    "no config.json, so no run": {
        "settings": dataclasses.replace(SETTINGS, sources="nowhere")
    },
    "a query shares a class with|shares a class with every": {
        "attacks": "p2p",
        "data": dataclasses.replace(DATA, query_labels=np.ones_like(DATA.query_labels)),
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(message, tmp_path):
    given = {"encode": encode, "data": DATA, "attacks": "noise", "settings": SETTINGS}
    given |= REFUSED[message]
    with pytest.raises(InputError, match=message) as refused:
        benchmark(**given, workdir=tmp_path / "new")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_example_runs():
    result = doctest.testmod(sys.modules["cgat_jax.benchmarking.benchmark"])
    assert result.attempted > 10 and not result.failed
