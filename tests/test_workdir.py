"""A workdir belongs to one configuration and to what it was made of."""

import dataclasses
import json

import pytest

from cgat_jax import workdir
from cgat_jax.config.settings import config_digest, from_json, to_json
from cgat_jax.errors import DamagedFileError, ForeignFilesError, InputError
from cgat_jax.files.io import read_sealed, write_sealed
from tests import tiny_config

DATA = {"labels": "1", "image_ids": "2", "split": "3", "contents": "4", "whole": "5"}


@pytest.fixture
def config():
    return tiny_config.get_config()


@pytest.fixture
def run(tmp_path, config):
    folder = tmp_path / "run"
    workdir.check_workdir(folder, config)
    workdir.claim_workdir(folder)
    workdir.remember(folder, config, {"data": DATA, "weights": "w"})
    (folder / "pretrain" / "checkpoints" / "3").mkdir(parents=True)
    return folder


def _bytes(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_the_same_may_go_on(run, config):
    before = _bytes(run)
    workdir.check_workdir(run, config)
    workdir.remember(run, config, {"data": DATA, "weights": "w"})
    assert before == _bytes(run)
    text = (run / "config.json").read_text()
    assert from_json(text) == config and workdir.streams_of(run) == 2


def test_a_file_of_weights_may_move_and_must_hold_the_same(run, config, tmp_path):
    other = tmp_path / "other"
    config.model.weights = "weights/vgg11.safetensors"
    workdir.claim_workdir(other)
    workdir.remember(other, config, {"data": DATA, "weights": "w"})
    (other / "pretrain" / "checkpoints" / "3").mkdir(parents=True)
    config.model.weights = "/elsewhere/vgg11.safetensors"
    workdir.check_workdir(other, config)
    with pytest.raises(InputError, match="made of other weights file"):
        workdir.remember(other, config, {"data": DATA, "weights": "of another file"})
    workdir.remember(other, config, {"data": DATA, "weights": "w"})
    config.model.weights = "packed"
    with pytest.raises(InputError, match="model.weights: '/elsewhere/vgg11.safeten"):
        workdir.check_workdir(other, config)


def test_what_is_defended_may_move_and_must_be_the_same(config, tmp_path):
    config.pretrained = "runs/none"
    made_of = {"data": DATA, "pretrained": "n"}
    for folder, of in (("new", made_of), ("old", {"data": DATA})):
        workdir.claim_workdir(tmp_path / folder)
        workdir.remember(tmp_path / folder, config, of)
        (tmp_path / folder / "defend" / "checkpoints" / "3").mkdir(parents=True)
    config.pretrained = "/elsewhere/runs/none"
    workdir.check_workdir(tmp_path / "new", config)
    before = _bytes(tmp_path / "new")
    with pytest.raises(InputError, match="made of other pretrained network"):
        workdir.remember(tmp_path / "new", config, made_of | {"pretrained": "m"})
    assert _bytes(tmp_path / "new") == before
    workdir.remember(tmp_path / "new", config, made_of)
    with pytest.raises(InputError, match="pretrained: 'runs/none' -> '/elsewhere"):
        workdir.check_workdir(tmp_path / "old", config)  # it noted no contents
    config.pretrained = ""
    with pytest.raises(InputError, match="pretrained: '/elsewhere/runs/none' -> ''"):
        workdir.check_workdir(tmp_path / "new", config)


def test_free_settings_may_change_and_are_noted(run, config):
    config.log_steps, config.data.root = 7, "elsewhere"
    workdir.check_workdir(run, config)
    workdir.remember(run, config, {"data": DATA, "weights": "w"})
    assert from_json((run / "config.json").read_text()).log_steps == 7


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("labels", r"other data \(labels differ\)"),
        ("image_ids", r"other data \(image ids differ\)"),
        ("split", r"other data \(split differ\)"),
        ("contents", r"other data \(contents differ\)"),
    ],
)
def test_other_data_are_refused_before_anything_is_written(run, config, part, what):
    config.data.root = "elsewhere"
    before = _bytes(run)
    other = DATA | {part: "x", "whole": "y"}
    with pytest.raises(InputError, match=what):
        workdir.remember(run, config, {"data": other, "weights": "w"})
    assert before == _bytes(run)


def test_another_weights_file_of_the_same_name_is_refused(run, config):
    with pytest.raises(InputError, match="other weights file"):
        workdir.remember(run, config, {"data": DATA, "weights": "x"})


def test_another_pretrained_network_is_refused(run):
    workdir.remember_network(run, "pretrained", "n")
    workdir.remember_network(run, "pretrained", "n")
    with pytest.raises(InputError, match="other pretrained network"):
        workdir.remember_network(run, "pretrained", "m")


def test_a_foreign_folder_is_refused_and_untouched(tmp_path, config):
    (tmp_path / "results.json").write_text('{"mine": 1}')
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    with pytest.raises(ForeignFilesError, match="not empty.*report, results.json"):
        workdir.check_workdir(tmp_path, config)
    with pytest.raises(ForeignFilesError):
        workdir.claim_workdir(tmp_path)
    assert (tmp_path / "results.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("text", ["{", "null", "[]", '{"data": ', '{"seed": 0}'])
def test_a_foreign_config_makes_no_run(tmp_path, config, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ForeignFilesError, match="config.json"):
        workdir.check_workdir(tmp_path, config)


def test_a_damaged_config_is_written_again_for_the_same_run_alone(run, config):
    (run / "config.json").write_text("null")
    workdir.check_workdir(run, config)
    workdir.remember(run, config, {"data": DATA, "weights": "w"})
    assert from_json((run / "config.json").read_text()) == config
    assert (run / "config.json.damaged-1").read_text() == "null"
    (run / "config.json").write_text("null")
    config.seed = 3
    with pytest.raises(DamagedFileError, match="config.json: damaged or missing"):
        workdir.check_workdir(run, config)


def test_a_missing_config_is_written_again_for_the_same_run_alone(run, config):
    before = _bytes(run)
    (run / "config.json").unlink()
    workdir.check_workdir(run, config)
    workdir.remember(run, config, {"data": DATA, "weights": "w"})
    assert _bytes(run) == before
    (run / "config.json").unlink()
    config.seed = 3
    with pytest.raises(DamagedFileError, match="config.json: damaged or missing"):
        workdir.check_workdir(run, config)


def test_missing_inputs_are_refused_by_name(run, config):
    (run / "inputs.json").unlink()
    with pytest.raises(DamagedFileError, match="inputs.json: missing"):
        workdir.remember(run, config, {"data": DATA, "weights": "w"})


def test_a_claim_of_which_nothing_came_keeps_no_one_from_correcting_it(run, config):
    (run / "pretrain" / "checkpoints" / "3").rmdir()
    config.seed = 3
    workdir.check_workdir(run, config)
    workdir.remember(run, config, {"data": DATA | {"labels": "x"}})
    assert from_json((run / "config.json").read_text()).seed == 3
    assert read_sealed(run / "inputs.json")["data"]["labels"] == "x"


@pytest.mark.parametrize(
    "name", ["backbone.safetensors", "targets.npy", "results.json", "codes/none/a.npy"]
)
def test_what_a_run_has_made_holds_its_settings(run, config, name):
    (run / "pretrain" / "checkpoints" / "3").rmdir()
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(b"made")
    config.seed = 3
    with pytest.raises(InputError, match="seed: 0 -> 3"):
        workdir.check_workdir(run, config)


def test_a_flipped_name_is_damage_and_no_other_setting(run, config):
    text = (run / "config.json").read_text().replace('"sha256"', '"sha257"')
    (run / "config.json").write_text(text)
    workdir.check_workdir(run, config)
    config.seed = 3
    with pytest.raises(DamagedFileError, match="damaged or missing"):
        workdir.check_workdir(run, config)


def test_damaged_inputs_are_refused_by_name(run, config):
    text = (run / "inputs.json").read_text()
    (run / "inputs.json").write_text(text.replace('"5"', '"6"'))
    with pytest.raises(DamagedFileError, match="inputs.json: damaged.*--workdir"):
        workdir.remember(run, config, {"data": DATA, "weights": "w"})


def _earlier(folder, config, *, trained, split="3"):
    """A run of version 0.1.0 before it had marks, digests and named streams."""
    content = json.loads(to_json(config))
    del content["data"]["enlarge"], content["loss"]["unseen"]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "pretrain" / "checkpoints" / "3").mkdir(parents=True)
    if trained:
        path = folder / "evaluate" / "none-clean" / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"split_sha256": split}))


def test_a_trained_run_of_an_earlier_version_goes_on(tmp_path, config):
    folder = tmp_path / "run"
    _earlier(folder, config, trained=True)
    workdir.check_workdir(folder, config)
    workdir.claim_workdir(folder)
    workdir.remember(folder, config, {"data": DATA})
    assert workdir.streams_of(folder) == 1
    workdir.check_workdir(folder, config)
    workdir.remember(folder, config, {"data": DATA})
    assert workdir.streams_of(folder) == 1
    assert read_sealed(folder / "inputs.json")["data"] == DATA


def test_an_untrained_run_of_an_earlier_version_is_refused(tmp_path, config):
    folder = tmp_path / "run"
    _earlier(folder, config, trained=False)
    workdir.check_workdir(folder, config)
    with pytest.raises(InputError, match="other random streams: finish it with that"):
        workdir.remember(folder, config, {"data": DATA})


def test_an_earlier_run_with_records_of_other_data_is_refused(tmp_path, config):
    folder = tmp_path / "run"
    _earlier(folder, config, trained=True, split="9")
    with pytest.raises(InputError, match="other data .the split of .*record.json"):
        workdir.remember(folder, config, {"data": DATA})


def test_earlier_lists_were_not_enlarged(tmp_path, config):
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, name="lists")
    )
    _earlier(tmp_path / "run", config, trained=True)
    with pytest.raises(InputError, match="data.enlarge: False -> True"):
        workdir.check_workdir(tmp_path / "run", config)
    config.data.enlarge = False
    workdir.check_workdir(tmp_path / "run", config)


def test_config_digests_leave_free_settings_out(config):
    digest = config_digest(config)
    config.log_steps = 99
    assert config_digest(config) == digest
    config.seed = 99
    assert config_digest(config) != digest


def test_sealed_inputs_are_what_was_written(run):
    content = read_sealed(run / "inputs.json")
    assert content["data"] == DATA and content["streams"] == workdir.STREAMS
    write_sealed(run / "inputs.json", content | {"streams": 1})
    assert workdir.streams_of(run) == 1
