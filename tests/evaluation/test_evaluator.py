"""What an evaluation keeps, makes again and refuses, on a network only drawn."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.attacks import ATTACKS, WORST_CASE, Budget
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import make_split
from cgat_jax.errors import InputError
from cgat_jax.evaluation import transfer, worst_case
from cgat_jax.evaluation.evaluator import Evaluator
from cgat_jax.evaluation.first_queries import worst_on_first
from cgat_jax.evaluation.records import _settings as attack_settings
from cgat_jax.evaluation.sanity_measures import Curve
from cgat_jax.evaluation.worst_case import ENSEMBLE, EnsembleResult, WorstCase
from cgat_jax.files.arrays import save_array
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.training.initial_state import build_network, fresh_weights
from cgat_jax.types import HashModel
from tests import tiny_config

LIST = "noise,cgat,p2p"


@pytest.fixture(scope="module")
def config():
    config = tiny_config.get_config()
    evaluate = dataclasses.replace(config.evaluate, attacks=LIST, sanity_queries=4)
    model = dataclasses.replace(config.model, weights="random")
    return dataclasses.replace(config, evaluate=evaluate, model=model)


@pytest.fixture(scope="module")
def dataset(config, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return load_dataset(config.data, root, progress=False)


@pytest.fixture(scope="module")
def network(config):
    model = build_network(config, config.model.bits)
    params, stats = fresh_weights(model, config)
    head = params["head"]
    scaled = {"kernel": 30 * head["kernel"], "bias": head["bias"]}
    return model, (params | {"head": scaled}, stats)


def _evaluator(config, dataset, folder):
    return Evaluator(config, dataset, sharding.make_mesh(), folder, lambda: None)


def _measure(config, dataset, network, folder):
    evaluator = _evaluator(config, dataset, folder)
    encoded = evaluator.encoded("none", *network)
    return evaluator, encoded, evaluator.attacks("none", encoded)


@pytest.fixture(scope="module")
def measured(config, dataset, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    _, _, records = _measure(config, dataset, network, folder)
    return folder, records


@pytest.fixture
def copy(measured, tmp_path):
    shutil.copytree(measured[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def _timeless(records):
    return [{k: r[k] for k in r if k != "seconds"} for r in records]


@pytest.mark.slow
def test_records_say_what_they_belong_to(measured, dataset):
    for record in measured[1]:
        assert record["data_sha256"] == dataset.digest.whole
        assert len(record["network_sha256"]) == 64 and record["warnings"] == []


@pytest.mark.parametrize(
    "name",
    [
        "codes/none/train.npy",
        "codes/none/database.npy",
        "codes/none/query.npy",
        "codes/none/origin.json",
        "targets.npy",
        "evaluate/none-p2p/record.json",
    ],
)
def test_a_flipped_bit_changes_no_number(
    config, dataset, network, measured, copy, name
):
    content = bytearray((copy / name).read_bytes())
    content[-80 if name.endswith("npy") else len(content) // 2] ^= 4
    (copy / name).write_bytes(content)
    if name == "targets.npy":
        shutil.rmtree(copy / "evaluate" / "none-p2p")
    _, _, records = _measure(config, dataset, network, copy)
    assert _timeless(records) == _timeless(measured[1])
    assert list(copy.rglob("*.damaged-1"))


def test_damaged_targets_are_drawn_anew_though_nothing_asks(
    config, dataset, network, measured, copy
):
    path = copy / "targets.npy"
    whole = path.read_bytes()
    path.write_bytes(b"null")
    _measure(config, dataset, network, copy)
    assert path.read_bytes() == whole
    assert (copy / "targets.npy.damaged-1").read_bytes() == b"null"


@pytest.mark.slow
def test_another_array_in_its_place_is_damage(config, dataset, network, measured, copy):
    """Whole, sealed and of the same shape, but of another part or without a seal."""
    codes = copy / "codes" / "none"
    split = dataset.split
    short = np.load(codes / "database.npy")[: len(split.query)]
    save_array(codes / "query.npy", short)
    np.save(codes / "train.npy", -np.load(codes / "train.npy"))
    records = copy / "evaluate"
    noise = (records / "none-noise" / "record.json").read_bytes()
    (records / "none-cgat" / "record.json").write_bytes(noise)
    path = records / "none-p2p" / "record.json"
    edited = json.loads(path.read_text())
    del edited["sha256"]
    path.write_text(json.dumps(edited | {"map": 0.99}))
    _, _, found = _measure(config, dataset, network, copy)
    assert _timeless(found) == _timeless(measured[1])
    names = sorted(p.name for p in copy.rglob("*.damaged-1"))
    records = 2 * ["record.json.damaged-1"]
    assert names == ["query.npy.damaged-1", *records, "train.npy.damaged-1"]


@pytest.mark.slow
def test_a_network_of_another_code_length_keeps_its_codes(config, dataset, tmp_path):
    """A source of a transfer may have longer codes than the run itself."""
    longer = dataclasses.replace(config.model, bits=16)
    model = build_network(dataclasses.replace(config, model=longer), 16)
    network = fresh_weights(model, config)
    for _ in range(2):
        evaluator = _evaluator(config, dataset, tmp_path)
        encoded = evaluator.encoded("other.none", model, network)
        assert encoded.codes["query"].shape == (20, 16)
    assert not list(tmp_path.rglob("*.damaged-1"))


def test_codes_of_another_network_or_other_data_are_refused(
    config, dataset, network, copy
):
    model, (params, stats) = network
    other = jax.tree.map(lambda x: 2 * x, params), stats
    with pytest.raises(InputError, match="codes/none belongs to another network"):
        _measure(config, dataset, (model, other), copy)
    split = dataset.split
    train = split.train[::-1]
    moved = make_split(
        "other",
        dataset.image_ids,
        train=train,
        query=split.query,
        database=split.database,
    )
    digest = dataclasses.replace(dataset.digest, split=moved.sha256)
    changed = dataclasses.replace(dataset, split=moved, digest=digest)
    with pytest.raises(InputError, match="codes/none belongs to another data"):
        _measure(config, changed, network, copy)


def test_a_record_of_another_network_is_refused(config, dataset, network, copy):
    path = copy / "evaluate" / "none-noise" / "record.json"
    write_sealed(path, read_sealed(path) | {"network_sha256": "0" * 64})
    with pytest.raises(InputError, match="none-noise holds a record of another"):
        _measure(config, dataset, network, copy)


@pytest.mark.slow
def test_an_encode_function_that_holds_its_weights_is_known_by_its_outputs(
    config, dataset, network, tmp_path
):
    """Its network has no arrays: the digest of an empty tree told nothing."""
    model, (params, stats) = network

    def closure(scale):
        def apply(_, __, images, *, key=None, mask=None):
            logits, _ = model.apply(params, stats, images)
            return logits * scale, {}

        return HashModel(model.init, apply), ({}, {})

    config = dataclasses.replace(
        config, evaluate=dataclasses.replace(config.evaluate, attacks="noise")
    )
    _measure(config, dataset, closure(1.0), tmp_path)
    _measure(config, dataset, closure(1.0), tmp_path)
    with pytest.raises(InputError, match="belongs to another network"):
        _measure(config, dataset, closure(-1.0), tmp_path)


def _one_attack(attack, score, holds_above):
    """An ensemble of one, quick to compile."""
    rows, worst = np.arange(len(holds_above)), WorstCase(len(holds_above))
    result = attack("apgd_opposite", Budget(steps=2, relaxation="unit"), rows, 0)
    worst.add(0, result, score(result.codes, rows))
    map_per_attack = dict.fromkeys(ENSEMBLE, float(worst.average_precision.mean()))
    return EnsembleResult(worst, map_per_attack, 0)


@pytest.mark.slow
def test_the_worst_case_is_compared_again_when_attacks_are_added(
    config, dataset, network, tmp_path, monkeypatch
):
    monkeypatch.setattr(worst_case, "standard_v1", _one_attack)

    def run(attacks):
        settings = dataclasses.replace(config.evaluate, attacks=attacks, gallery=0)
        changed = dataclasses.replace(config, evaluate=settings)
        _, _, records = _measure(changed, dataset, network, tmp_path)
        return {record["attack"]: record for record in records}

    first = run("noise,worst_case")["worst_case"]
    assert first["others"] == ["noise"]
    later = run("noise,cgat,worst_case")
    worst = later["worst_case"]
    assert worst["others"] == ["noise", "cgat"]
    assert worst["map_with_others"] <= min(later["cgat"]["map"], worst["map"])
    assert {k: worst[k] for k in worst if "others" not in k} == {
        k: first[k] for k in first if "others" not in k
    }
    kept = read_sealed(tmp_path / "evaluate" / "none-worst_case" / "record.json")
    assert kept == worst


def _on_first(config, dataset, network, folder, **changes):
    """The worst case on first queries, and the records of the other attacks."""
    settings = dataclasses.replace(config.evaluate, gallery=0, **changes)
    changed = dataclasses.replace(config, evaluate=settings)
    evaluator, encoded, records = _measure(changed, dataset, network, folder)
    return worst_on_first(evaluator, {"none": encoded}), records, (evaluator, encoded)


@pytest.mark.slow
def test_a_worst_case_on_first_queries_is_what_all_of_them_have_there(
    config, dataset, network, tmp_path, monkeypatch
):
    monkeypatch.setattr(worst_case, "standard_v1", _one_attack)
    given = config, dataset, network
    (first,), records, made = _on_first(
        *given, tmp_path / "first", attacks="noise,cgat", worst_case_queries=6
    )
    assert [record["attack"] for record in records] == ["clean", "noise", "cgat"]
    assert (first["num_attacked"], first["num_queries"]) == (6, 20)
    named = {"attacks": "noise,cgat,worst_case", "worst_case_queries": 6}
    none, whole, (evaluator, encoded) = _on_first(*given, tmp_path / "all", **named)
    assert none == [] and whole[-1]["num_attacked"] == 20
    assert _timeless(whole[:-1]) == _timeless(records)
    precision = evaluator.precision("none", "worst_case", encoded)
    assert first["map"] == pytest.approx(precision[:6].mean())
    assert list(first["same_queries"]) == ["clean", "noise", "cgat"]
    for name, value in first["same_queries"].items():
        own = made[0].precision("none", name, made[1])
        assert value == pytest.approx(own[:6].mean())
        record = next(r for r in records if r["attack"] == name)
        assert record["map"] == pytest.approx(own.mean())


@pytest.mark.slow
def test_a_worst_case_on_first_queries_is_kept_and_follows_the_settings(
    config, dataset, network, tmp_path, monkeypatch
):
    calls = []

    def counted(attack, score, holds_above):
        calls.append(len(holds_above))
        return _one_attack(attack, score, holds_above)

    monkeypatch.setattr(worst_case, "standard_v1", counted)

    def run(attacks="noise", **changes):
        changes |= {"attacks": attacks}
        return _on_first(config, dataset, network, tmp_path, **changes)[0]

    first = run(worst_case_queries=5)
    assert run(worst_case_queries=5) == first and calls == [5]
    (more,) = run("noise,cgat", worst_case_queries=5)
    assert list(more["same_queries"]) == ["clean", "noise", "cgat"] and calls == [5]
    (seven,) = run(worst_case_queries=7)
    assert seven["num_attacked"] == 7 and calls == [5, 7]
    assert run(worst_case_queries=0) == [] and calls == [5, 7]


def test_a_worst_case_that_all_queries_pay_for_is_one_of_the_attacks(
    config, dataset, network, tmp_path, monkeypatch
):
    monkeypatch.setattr(worst_case, "standard_v1", _one_attack)
    none, records, _ = _on_first(
        config, dataset, network, tmp_path, attacks="noise", worst_case_queries=99
    )
    assert none == []
    assert [r["attack"] for r in records] == ["clean", "noise", "worst_case"]
    assert records[-1]["others"] == ["noise"]


def test_sanity_names_its_twin_and_is_made_again_with_another(
    config, dataset, network, tmp_path, monkeypatch
):
    twins = []

    def examine(network, on_check):
        source = network._transfer_source
        twins.append(source and source.name)
        return [], Curve([], [], [])

    monkeypatch.setattr(transfer, "examine", examine)
    evaluator = _evaluator(config, dataset, tmp_path)
    model, (params, stats) = network
    other = jax.tree.map(lambda x: 1.5 * x, params), stats
    encoded = evaluator.encoded("none", model, (params, stats))
    twin = evaluator.encoded("twin", model, other)
    found = transfer.Doubts(evaluator)
    path = tmp_path / "evaluate" / "none-sanity" / "sanity.json"

    (map_per_attack,) = found.examine({"none": encoded}, {"none": encoded})
    assert map_per_attack["twin"] is None and twins == [None]
    sources = {"none": encoded, "twin": twin}
    (both,) = found.examine({"none": encoded}, sources)
    assert both["twin"] == "twin" and both["twin_sha256"] == twin.digest
    before = path.read_bytes()
    assert found.examine({"none": encoded}, sources) == [both]
    assert path.read_bytes() == before and twins == [None, "twin"]
    changed = {"none": encoded, "twin": twin._replace(digest="0" * 64)}
    (again,) = found.examine({"none": encoded}, changed)
    assert again["twin_sha256"] == "0" * 64 and len(twins) == 3


@pytest.mark.parametrize("key", ["source", "network", "data"])
def test_transfers_are_of_the_networks_and_data_of_now(
    config, dataset, network, tmp_path, key
):
    settings = dataclasses.replace(config.evaluate, transfer="noise")
    changed = dataclasses.replace(config, evaluate=settings)
    evaluator = _evaluator(changed, dataset, tmp_path)
    networks = {"none": evaluator.encoded("none", *network)}
    sources = {"other": networks["none"]._replace(digest="1" * 64)}
    found = transfer.Doubts(evaluator)
    (first,) = found.transfers(networks, sources)
    path = tmp_path / "evaluate" / "none-noise@other" / "record.json"
    before = path.read_bytes()
    assert found.transfers(networks, sources) == [first]
    assert path.read_bytes() == before

    write_sealed(path, first | {"map": 0.9876, f"{key}_sha256": "0" * 64})
    (again,) = found.transfers(networks, sources)
    assert _timeless([again]) == _timeless([first])
    assert read_sealed(path) == again


@pytest.mark.parametrize("attack", [*ATTACKS, WORST_CASE])
def test_every_record_says_that_images_were_rounded(config, attack):
    evaluate = dataclasses.replace(config.evaluate, round_images=True)
    rounded = dataclasses.replace(config, evaluate=evaluate)
    plain = attack_settings(config, attack)
    assert attack_settings(rounded, attack) == plain | {"rounded": "8 bits"}
    assert attack_settings(rounded, "clean") == attack_settings(config, "clean")


@pytest.mark.slow
def test_rounded_images_are_of_256_levels_in_the_ball(
    config, dataset, network, tmp_path
):
    settings = dataclasses.replace(config.evaluate, round_images=True, attacks="cgat")
    config = dataclasses.replace(config, evaluate=settings)
    evaluator = _evaluator(config, dataset, tmp_path)
    encoded = evaluator.encoded("none", *network)
    result = evaluator.attacker.run("cgat", encoded, keep=20)
    levels = np.asarray(result.images, np.float64) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert result.linf.max() <= 8 / 255 + 1e-6
    logits = encoded.model.apply(*encoded.network, jnp.asarray(result.images))[0]
    np.testing.assert_array_equal(np.sign(logits), result.codes)
    record = evaluator.attacks("none", encoded)[-1]
    assert record["attack_settings"]["rounded"] == "8 bits"


def _bare(dataset, rows):
    """The same data with queries that have no label."""
    labels = dataset.labels.copy()
    labels[dataset.split.query[rows]] = 0
    return dataclasses.replace(dataset, labels=labels)


def test_queries_without_relevant_items_count_as_zero_or_are_left_out(
    config, dataset, network, tmp_path
):
    data, rows = _bare(dataset, [0, 3, 7]), [0, 3, 7]
    kept = np.setdiff1d(np.arange(len(dataset.split.query)), rows)
    found = {}
    for choice in ("zero", "exclude"):
        settings = dataclasses.replace(
            config.evaluate,
            without_relevant=choice,
            attacks="p2p" if choice == "exclude" else "",
        )
        changed = dataclasses.replace(config, evaluate=settings)
        evaluator, _, records = _measure(changed, data, network, tmp_path / choice)
        found[choice] = records[0]
    np.testing.assert_array_equal(evaluator.references.rows, kept)
    gallery = tmp_path / "exclude" / "evaluate" / "none-p2p" / "gallery.json"
    shown = json.loads(gallery.read_text())["queries"]
    ids = [data.image_ids[p] for p in evaluator.references.positions]
    assert [query["id"] for query in shown] == ids[: len(shown)]
    zero, result = found["zero"], found["exclude"]
    assert zero["num_without_relevant"] == 3 and zero["num_attacked"] == 20
    assert result["num_without_relevant"] == 0 and result["num_attacked"] == 17
    assert result["ceiling"] == 1.0 and zero["ceiling"] == pytest.approx(17 / 20)
    assert result["map"] == pytest.approx(zero["map"] * 20 / 17)
    assert result["without_relevant"] == "exclude"


def test_no_query_at_all_is_refused(config, dataset, tmp_path):
    settings = dataclasses.replace(config.evaluate, without_relevant="exclude")
    config = dataclasses.replace(config, evaluate=settings)
    with pytest.raises(InputError, match="exclude leaves no query"):
        _evaluator(config, _bare(dataset, np.arange(20)), tmp_path)


def test_codes_that_are_all_the_same_are_said(config, dataset, network, tmp_path):
    model, (params, stats) = network
    dead = {"kernel": 0 * params["head"]["kernel"], "bias": jnp.ones(8)}
    settings = dataclasses.replace(config.evaluate, attacks="noise")
    config = dataclasses.replace(config, evaluate=settings)
    _, _, records = _measure(
        config, dataset, (model, (params | {"head": dead}, stats)), tmp_path
    )
    for record in records:
        assert "all database images one and the same code" in record["warnings"][0]
