"""Settings that are chosen for photos: what by, what stays, and what is refused."""

import copy
import json

import pytest

from cgat_jax.config.loading import override
from cgat_jax.config.settings import validate
from cgat_jax.errors import InputError
from cgat_jax.evaluation import chosen, first_checks, preflight
from cgat_jax.evaluation.chosen import Machine
from cgat_jax.evaluation.photo_sizes import Photos, look
from cgat_jax.evaluation.workload import Sizes
from cgat_jax.files.ownership import claim_folder
from cgat_jax.workdir import remember
from experiments.configs import coco, photos
from tests.data.sources import write_images

CPU, GPU = Machine("cpu", 1), Machine("gpu", 1)


def of(train, side, stored=0):
    return Photos(Sizes(train, train, max(1, train // 9)), side, stored)


def chosen_for(given, machine=CPU, **settings):
    config = photos.get_config()
    override(config, settings)
    values, lines = chosen.choose(config, given, machine)
    override(config, values)
    validate(config)
    assert len(lines) == 3
    return config


def epochs(config):
    return [config.backbone.epochs, config.pretrain.epochs, config.defense.epochs]


@pytest.mark.parametrize(
    "given, crop, stored",
    [
        (of(2_700, 32), 32, 32),
        (of(2_700, 20), 32, 32),
        (of(2_700, 60), 48, 54),
        (of(800, 400), 64, 72),
        (of(2_700, 400), 48, 54),  # so many that 64 pixels would take too long
        (of(30_000, 400), 48, 54),
        (of(2_700, 400, stored=54), 48, 54),  # prepared before, so that stays
        (of(2_700, 400, stored=256), 224, 256),
    ],
)
def test_sizes_follow_the_photos(given, crop, stored):
    data = chosen_for(given).data
    assert (data.crop_size, data.image_size) == (crop, stored)


def test_sets_of_a_thousand_get_the_usual_epochs_and_larger_ones_fewer():
    assert epochs(chosen_for(of(300, 32))) == [40, 30, 15]
    assert epochs(chosen_for(of(900, 32))) == [40, 30, 15]
    some = epochs(chosen_for(of(2_700, 32)))
    assert [40, 30, 15] > some > [10, 8, 4]
    assert epochs(chosen_for(of(10**6, 32))) == [10, 8, 4]


def test_a_gpu_gets_a_larger_network_for_large_photos():
    large = chosen_for(of(2_700, 400), GPU)
    assert (large.model.name, large.data.crop_size) == ("resnet18", 224)
    assert chosen_for(of(2_700, 32), GPU).model.name == "small"
    six = chosen_for(of(2_700, 32), Machine("gpu", 6))
    assert six == chosen_for(of(2_700, 32), GPU)  # whose numbers can be compared


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "vgg16_bn"])
@pytest.mark.parametrize("side", [32, 150, 400])
def test_networks_of_one_size_get_it_on_any_machine(name, side):
    for machine in (CPU, GPU):
        data = chosen_for(of(900, side), machine, **{"model.name": name}).data
        assert (data.crop_size, data.image_size) == (224, 256)


@pytest.mark.parametrize("name", ["medium", "resnet18"])
def test_small_photos_are_not_enlarged_for_networks_of_any_size(name):
    given = {"model.name": name}
    assert chosen_for(of(900, 32), GPU, **given).data.crop_size == 32
    assert chosen_for(of(900, 32), CPU, **given).data.crop_size == 32


def test_a_backbone_that_is_given_takes_no_time_and_is_not_told():
    packed = {"model.name": "small", "model.weights": "packed"}
    config, own = (chosen_for(of(5_000, 32), **g) for g in (packed, {}))
    assert config.pretrain.epochs > own.pretrain.epochs
    photos_config = photos.get_config()
    override(photos_config, packed)
    told = chosen.choose(photos_config, of(900, 32), CPU)[1][-1]
    assert told.startswith("training: 30 + 15 epochs (pretrain, defend)")


def test_what_is_given_stays():
    config = chosen_for(
        of(2_700, 400),
        **{
            "model.name": "resnet18",
            "data.crop_size": 40,
            "defense.epochs": 3,
            "pretrain.batch_size": 16,
        },
    )
    assert (config.model.name, config.data.crop_size) == ("resnet18", 40)
    assert (config.data.image_size, config.defense.epochs) == (40, 3)
    assert (config.pretrain.batch_size, config.backbone.batch_size) == (16, 64)
    assert chosen_for(of(2_700, 400), **{"data.image_size": 40}).data.crop_size == 35


def test_epochs_that_were_set_are_said_to_be():
    def told(**changes):
        config = photos.get_config()
        override(config, changes)
        return chosen.choose(config, of(3_000, 32), CPU)[1][-1]

    assert "in minutes" not in told() and "as set" not in told()
    assert "fewer, the more photos" in told()
    assert " + 3 (as set) epochs" in told(**{"defense.epochs": 3})
    every = {f"{stage}.epochs": 2 for stage in ("backbone", "pretrain", "defense")}
    assert told(**every).startswith("training: 2 + 2 + 2 epochs")
    assert told(**every).endswith(": as set")


def test_nothing_is_open_but_for_photos():
    config = coco.get_config()
    config.pretrain.epochs = -1
    assert chosen.open_settings(config) == []
    with pytest.raises(InputError, match="pretrain.epochs: expected a number from 0"):
        validate(config)
    assert len(chosen.open_settings(photos.get_config())) == 10


def test_weights_need_the_name_of_their_network():
    config = photos.get_config()
    config.model.weights = "vgg11.safetensors"
    with pytest.raises(InputError, match="model.name: say which network vgg11"):
        chosen.choose(config, of(2_700, 400), CPU)
    with pytest.raises(InputError, match="model.name: say which network vgg11"):
        first_checks.plausible(config)


GIVEN = [
    {},
    {"data.crop_size": 48},
    {"data.image_size": 72},
    {"data.image_size": 40, "data.crop_size": 32, "pretrain.batch_size": 16},
    {"model.name": "resnet18", "loss.name": "csq", "evaluate.attacks": "prosgan"},
    {"model.weights": "packed"},
    {"backbone.epochs": 0, "model.weights": "packed", "defense.epochs": 2},
]


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: ", ".join(given) or "none")
def test_before_photos_are_looked_at_only_what_is_given_is_refused(given):
    config = photos.get_config()
    override(config, given)
    asked = copy.deepcopy(config)
    preflight.check_settings(first_checks.plausible(config))
    assert config == asked
    override(config, {"evaluate.attacks": "noise,cgta"})
    with pytest.raises(InputError, match="unknown attack 'cgta'"):
        preflight.check_settings(first_checks.plausible(config))


@pytest.mark.parametrize("setting", ["pretrained", "evaluate.sources"])
def test_other_runs_are_compared_once_the_settings_are_the_runs(tmp_path, setting):
    """Before, sizes and epochs are nobody's: the other run has those it has chosen."""
    other, config = photos.get_config(), photos.get_config()
    override(other, dict.fromkeys(chosen.open_settings(other), 8) | CHOSEN)
    claim_folder(tmp_path / "other", "run")
    remember(tmp_path / "other", other, {"data": {"split": "x", "whole": "y"}})
    override(config, {setting: str(tmp_path / "other"), "defense.name": "saat"})
    first_checks.check_others(config, tmp_path / "run")
    override(config, dict.fromkeys(chosen.open_settings(config), 8) | CHOSEN)
    preflight.check_settings(config)
    config.data.image_size = 60
    with pytest.raises(InputError, match="data.image_size: 54 -> 60"):
        preflight.check_settings(config)
    config = photos.get_config()
    override(config, {setting: str(tmp_path / "other"), "data.enlarge": False})
    with pytest.raises(InputError, match="data.enlarge: True -> False"):
        first_checks.check_others(config, tmp_path / "run")
    for name in ("none", "none.safetensors"):
        override(config := photos.get_config(), {setting: str(tmp_path / name)})
        with pytest.raises((InputError, FileNotFoundError), match=name):
            first_checks.check_others(config, tmp_path / "run")


CHOSEN = {"model.name": "small", "data.image_size": 54, "data.crop_size": 48}


@pytest.fixture
def config(tmp_path):
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(10)]
    write_images(tmp_path / "photos", names, size=(40, 50))
    config = photos.get_config()
    config.data.source = str(tmp_path / "photos")
    return config


def test_the_photos_are_looked_at_where_they_lie(config, tmp_path):
    assert look(config, tmp_path / "run") == Photos(Sizes(18, 18, 2), 40)
    config.data.num_queries = 30
    with pytest.raises(InputError, match="num_queries=30: only 18 images"):
        look(config, tmp_path / "run")
    config.data.source = ""
    with pytest.raises(InputError, match="data.source is missing"):
        look(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_what_was_chosen(config, tmp_path, monkeypatch):
    monkeypatch.setattr(chosen, "measured_speed", lambda config: 1e9)
    workdir = tmp_path / "run"
    values, lines = chosen.settle(config, workdir)
    assert [line.split(":")[0] for line in lines] == [
        *("photos", "network", "training", "time")
    ]
    claim_folder(workdir, "run")
    first = copy.deepcopy(config)
    override(first, values | {"pretrain.epochs": 7})
    remember(workdir, first, {"data": {"split": "x", "whole": "y"}})
    assert chosen.settle(config, workdir)[0] == values  # nothing has been made yet
    (workdir / "backbone.safetensors").touch()
    again, lines = chosen.settle(config, workdir)
    assert again == values | {"pretrain.epochs": 7}
    assert lines == [f"chosen before, see {workdir / 'config.json'}"]
    assert json.loads((workdir / "config.json").read_text())["pretrain"]["epochs"] == 7
    config.pretrained = str(tmp_path / "gone")  # is read once all is settled
    first_checks.check_others(config, workdir)
    config.pretrain.epochs = 5
    assert "pretrain.epochs" not in chosen.settle(config, workdir)[0]
