"""A run's networks as files: left after each stage, loaded, and started from."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.config import Config
from cgat_jax.config.settings import from_json
from cgat_jax.data import load_dataset
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.evaluation import other_runs
from cgat_jax.evaluation.data_checks import check_data, made_of
from cgat_jax.evaluation.encoder import Encoder
from cgat_jax.evaluation.preflight import check_settings
from cgat_jax.evaluation.trained_networks import load_network, note_records
from cgat_jax.files.io import read_sealed, write_sealed
from cgat_jax.models.network_file import read_card
from cgat_jax.training import checkpoint, stages
from cgat_jax.training.initial_state import build_network
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.training.network_files import (
    check_network,
    network_path,
    stage_file,
    state_from_file,
)
from cgat_jax.workdir import claim_workdir, has_begun, remember, remembered
from tests import tiny_config

MADE_WITH = {"commit": "0123456", "versions": {"jax": "0.10.2"}, "device": "cpu x1"}


def config_of(**settings) -> Config:
    """CSQ keeps constants, EMA another network: one epoch each."""
    config = tiny_config.get_config()
    parts = {
        "model": {"weights": "random"},
        "loss": {"name": "csq"},
        "pretrain": {"epochs": 1, "schedule": "constant"},
        "defense": {
            **{"epochs": 1, "steps": 1, "ema": 0.9, "schedule": "constant"},
            "learning_rate": 1e-4,  # or all codes are one
        },
    }
    for part, values in parts.items():
        changed = dataclasses.replace(getattr(config, part), **values)
        setattr(config, part, changed)
    return dataclasses.replace(config, checkpoint_seconds=1e9, **settings)


def trained(config, workdir, dataset):
    claim_workdir(workdir)
    remember(workdir, config, made_of(config, dataset, sharding.make_mesh()))
    mesh, stop = sharding.make_mesh(), StopSignal()
    return stages.train(config, dataset, mesh, workdir, stop, MADE_WITH)


@pytest.fixture(scope="module")
def config():
    return config_of()


@pytest.fixture(scope="module")
def dataset(config, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return load_dataset(config.data, root, progress=False)


@pytest.fixture(scope="module")
def run(config, dataset, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "csq"
    return workdir, trained(config, workdir, dataset)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run[0], tmp_path / "copy")


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def contents(workdir):
    return {p: p.read_bytes() for p in sorted(workdir.rglob("*")) if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "cgat"])
def test_a_run_gives_the_networks_that_it_trained(run, config, dataset, defense):
    workdir, networks = run
    net = load_network(workdir, defense=defense)
    same((net.params, net.stats), networks[defense])
    assert set(net.loss_state["constants"]) == {"centers", "ties"}
    card = net.card
    assert card["network_sha256"] == checkpoint.digest_of(networks[defense])
    assert (card["backbone"], card["bits"], card["defense"]) == ("small", 8, defense)
    assert (card["image_size"], card["crop_size"], card["loss"]) == (40, 32, "csq")
    assert card["classes"] == list(dataset.class_names)
    assert card["data_sha256"] == dataset.digest.whole
    assert card["split_sha256"] == dataset.split.sha256
    assert card.items() >= MADE_WITH.items() and card["records"] == []
    assert from_json(json.dumps(card["config"])) == config


@pytest.mark.parametrize("defense", ["none", "cgat"])
def test_its_codes_are_the_evaluations_to_the_bit(run, config, dataset, defense):
    """Of the prepared images, and of their crops, which pass through unchanged."""
    workdir, networks = run
    mesh = sharding.make_mesh()
    encoder = Encoder(config, dataset, mesh, workdir, lambda: None)
    model = build_network(config, config.model.bits)
    encoder.encoded(defense, model, networks[defense])
    net = load_network(workdir, defense)
    for part in ("query", "database"):
        codes = np.load(workdir / "codes" / defense / f"{part}.npy")
        positions = getattr(dataset.split, part)
        prepared = [dataset.read(int(position)) for position in positions]
        np.testing.assert_array_equal(net.encode(prepared), codes)
        crops = np.stack([image[4:36, 4:36] for image in prepared])
        np.testing.assert_array_equal(net.encode(crops, batch_size=16), codes)
    assert len(np.unique(codes, axis=0)) > 1


def test_one_of_several_networks_has_to_be_named(run):
    workdir, _ = run
    message = r"csq: holds several networks.*defense='none' or defense='cgat'"
    with pytest.raises(InputError, match=message):
        load_network(workdir)
    with pytest.raises(InputError, match="unknown network of this run 'cgta'.*did you"):
        load_network(workdir, "cgta")
    assert load_network(workdir / "defend").card["defense"] == "cgat"


def test_the_same_command_again_writes_nothing(copy, config, dataset):
    before = contents(copy)
    trained(config, copy, dataset)
    assert contents(copy) == before


@pytest.mark.parametrize("hows", [("flip", "cut"), ("other", "remove")])
def test_a_hurt_file_is_set_aside_and_written_again(copy, config, dataset, hows):
    paths = [stage_file(copy, stage) for stage in ("pretrain", "defend")]
    before = [path.read_bytes() for path in paths]
    for path, content, other, how in zip(
        paths, before, reversed(before), hows, strict=True
    ):
        hurt = bytearray(content)
        hurt[len(hurt) // 2] ^= 8
        if how == "remove":
            path.unlink()
        else:
            changed = {"flip": hurt, "cut": content[:99], "other": other}
            path.write_bytes(changed[how])
    trained(config, copy, dataset)
    assert [path.read_bytes() for path in paths] == before
    for path, how in zip(paths, hows, strict=True):
        aside = path.with_name(f"{path.name}.damaged-1")
        assert aside.is_file() == (how != "remove")


def test_a_damaged_file_is_named_and_not_loaded(copy):
    path = stage_file(copy, "defend")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match="defend/network.safetensors") as caught:
        load_network(copy, "cgat")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("defense", ["none", "cgat"])
def test_an_older_workdir_is_read_from_its_checkpoints(run, copy, defense):
    net = load_network(run[0], defense)
    digest = net.card["network_sha256"]
    records = [{"map": 0.5, "network_sha256": digest}, {"network_sha256": "other"}]
    write_sealed(copy / "results.json", {"records": records})
    for stage in ("pretrain", "defend"):
        stage_file(copy, stage).unlink()
    before = contents(copy)
    found = load_network(copy, defense)
    same((found.params, found.stats), (net.params, net.stats))
    same(found.loss_state, net.loss_state)
    assert found.card["records"] == records[:1]
    unknown = {"classes", "split", *MADE_WITH, "records", "arrays_sha256"}
    for key in net.card.keys() - unknown:
        assert found.card[key] == net.card[key], key
    assert contents(copy) == before


def test_an_unfinished_stage_has_no_network(copy):
    shutil.rmtree(copy / "defend")
    with pytest.raises(InputError, match="copy: its stage defend is not finished: run"):
        load_network(copy, "cgat")
    assert load_network(copy, "none").card["defense"] == "none"
    stage_file(copy, "pretrain").unlink()
    sealed = read_sealed(copy / "config.json")
    sealed["pretrain"]["epochs"] = 2
    write_sealed(copy / "config.json", sealed)
    with pytest.raises(InputError, match="its stage pretrain is at step 6 of 12"):
        load_network(copy, "none")


def test_damaged_checkpoints_of_an_older_workdir_are_named(copy):
    stage_file(copy, "pretrain").unlink()
    for path in (copy / "pretrain" / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(b"null")
    with pytest.raises(InputError, match="pretrain") as caught:
        load_network(copy, "none")
    assert "\n" not in str(caught.value)


def test_what_was_measured_is_noted_beside_each_network(run, copy):
    digests = {
        d: load_network(copy, d).card["network_sha256"] for d in ("none", "cgat")
    }
    records = [
        {"defense": d, "attack": a, "map": 0.5, "network_sha256": digests[d]}
        for d in digests
        for a in ("clean", "cgat")
    ]
    note_records(copy, records)
    before = contents(copy)
    note_records(copy, records)
    assert contents(copy) == before
    for defense in digests:
        own = [record for record in records if record["defense"] == defense]
        assert load_network(copy, defense).card["records"] == own
    path = copy / "pretrain" / "network.json"
    path.write_text(path.read_text().replace("0.5", "0.7"))
    with pytest.raises(DamagedFileError, match="network.json: damaged or edited"):
        load_network(copy, "none")
    note_records(copy, records)
    assert contents(copy) == before
    # A saved copy carries them itself.
    saved = load_network(copy, "none").save(copy.parent / "one.safetensors")
    assert load_network(saved).card["records"] == records[:2]


def test_records_of_another_network_are_not_this_ones(copy):
    note_records(copy, [])
    path = copy / "pretrain" / "network.json"
    records = [{"map": 1.0, "network_sha256": "other"}]
    write_sealed(path, {"network_sha256": "other", "records": records})
    assert load_network(copy, "none").card["records"] == []


def test_a_network_is_something_that_a_run_has_made(tmp_path, run):
    for stage in ("pretrain", "defend"):
        for name in ("network.safetensors", "network.json"):
            workdir = tmp_path / stage / name
            (workdir / stage).mkdir(parents=True)
            assert not has_begun(workdir)
            (workdir / stage / name).write_bytes(b"made")
            assert has_begun(workdir)


def _given(workdir, stage="pretrain"):
    return str(stage_file(workdir, stage))


@pytest.mark.slow
def test_a_start_from_a_file_is_the_start_from_a_workdir(run, dataset, tmp_path):
    """To the bit: the file has the constants of the loss, too."""
    workdir, _ = run
    config = config_of(pretrained=_given(workdir))
    check_settings(config)
    check_data(config, dataset)
    networks = trained(config, tmp_path / "b", dataset)
    assert list(networks) == ["cgat"]
    assert stage_file(tmp_path / "b", "defend").is_file()
    assert not (tmp_path / "b" / "pretrain").exists()
    states = []
    for folder in (workdir, tmp_path / "b"):
        checkpoints = folder / "defend" / "checkpoints"
        meta = next((checkpoints / "6" / "meta").rglob("metadata"))
        states.append(json.loads(meta.read_text())["sha256"])
    assert states[0] == states[1]
    digest = read_card(config.pretrained)["arrays_sha256"]
    assert remembered(tmp_path / "b", "pretrained") == digest
    net = load_network(tmp_path / "b")
    same((net.params, net.stats), networks["cgat"])
    message = r"b: its undefended network is the one of .*pretrain/network.safetensors"
    with pytest.raises(InputError, match=message):
        load_network(tmp_path / "b", "none")
    (tmp_path / "c").mkdir()
    shutil.copy(_given(workdir, "defend"), tmp_path / "c" / "network.safetensors")
    config.pretrained = str(tmp_path / "c")
    with pytest.raises(InputError, match="b was made of other pretrained network"):
        stages.train(
            config, dataset, sharding.make_mesh(), tmp_path / "b", StopSignal()
        )


def test_the_network_that_a_file_gives_is_named_by_its_defense(run, dataset):
    workdir, networks = run
    mesh = sharding.make_mesh()
    for source, name in (
        (str(workdir), "none"),
        (_given(workdir), "none"),
        (_given(workdir, "defend"), "cgat"),
    ):
        found = stages.pretrained_networks(config_of(pretrained=source), dataset, mesh)
        assert list(found) == [name]
        same(found[name], networks[name])


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("model", {"bits": 16}, "model.bits: 8 -> 16"),
        ("model", {"name": "alexnet"}, "model.name: 'small' -> 'alexnet'"),
        ("data", {"crop_size": 24}, "data.crop_size: 32 -> 24"),
        ("data", {"image_size": 48}, "data.image_size: 40 -> 48"),
        ("loss", {"name": "dpsh"}, "loss.name: 'csq' -> 'dpsh'"),
        ("loss", {"rule": "single"}, "loss.rule: 'multi' -> 'single'"),
    ],
)
def test_a_file_of_another_network_is_refused(run, part, values, message):
    config = config_of(pretrained=_given(run[0]))
    setattr(config, part, dataclasses.replace(getattr(config, part), **values))
    with pytest.raises(InputError, match=f"other settings .{message}"):
        check_network(stage_file(run[0], "pretrain"), config)


def test_what_a_defense_may_choose_is_no_other_network(run):
    config = config_of(pretrained=_given(run[0]), seed=5)
    config.loss = dataclasses.replace(config.loss, redraw=True)
    config.pretrain = dataclasses.replace(config.pretrain, epochs=9)
    check_settings(config)


def test_a_start_that_leaves_nothing_to_do_is_refused(run):
    config = config_of(pretrained=_given(run[0]))
    config.defense = dataclasses.replace(config.defense, epochs=0)
    with pytest.raises(InputError, match=r"defense.epochs: 0 with pretrained.*measure"):
        check_settings(config)


@pytest.mark.parametrize("content", [None, b"", b"null"])
def test_a_file_that_is_none_is_refused_before_training(tmp_path, content):
    path = tmp_path / "n.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="n.safetensors") as caught:
        check_settings(config_of(pretrained=str(path)))
    assert "\n" not in str(caught.value)


def test_a_file_of_other_data_is_refused(run, dataset, tmp_path):
    net = load_network(run[0], "none")
    config = config_of(pretrained=_given(run[0]))
    other = dataclasses.replace(dataset, digest=dataclasses.replace(dataset.digest))
    object.__setattr__(other.digest, "labels", "x")
    with pytest.raises(InputError, match="network.safetensors was made of other data"):
        check_data(config, other)
    unknown = dataclasses.replace(net, card=net.card | {"data_sha256": ""})
    path = unknown.save(tmp_path / "n.safetensors")
    other_runs.check_same_data(path, "pretrained", other)


def test_without_its_losss_state_it_is_drawn_as_in_pretraining(run, dataset, tmp_path):
    net = load_network(run[0], "none")
    path = dataclasses.replace(net, loss_state={}).save(tmp_path / "n.safetensors")
    config = config_of(pretrained=str(path))
    state = state_from_file(path, config, dataset)
    same(state.constants, net.loss_state["constants"])  # of the same seed
    other = state_from_file(path, dataclasses.replace(config, seed=1), dataset)
    assert (other.constants["ties"] != state.constants["ties"]).any()
    same(state.params, {"model": net.params, "loss": {}})


def test_a_state_of_another_loss_is_refused(run, dataset, tmp_path):
    net = load_network(run[0], "none")
    wrong = {"constants": {"centers": np.zeros((3, 8), np.float32)}}
    path = dataclasses.replace(net, loss_state=wrong).save(tmp_path / "n.safetensors")
    with pytest.raises(InputError, match="its state of the loss is not one of csq"):
        state_from_file(path, config_of(), dataset)


def test_a_path_is_of_a_file_or_of_a_run(run, tmp_path):
    workdir, _ = run
    file = stage_file(workdir, "pretrain")
    assert network_path(workdir) is None and network_path(tmp_path) is None
    assert network_path(file) == network_path(workdir / "pretrain") == file
    absent = tmp_path / "absent.safetensors"
    assert network_path(absent) == absent
