"""Each data set's original layout, of real photos: prepared, trained on, evaluated."""

import importlib
import json

import pytest

from cgat_jax.config import Config
from cgat_jax.data import load_dataset
from cgat_jax.data.checks.chance import map_bounds
from cgat_jax.data.datasets.flickr25k import CLASS_NAMES
from cgat_jax.data.sources.known import KNOWN
from tests.data import layouts
from tests.data.sources import SHARED, needs_shared_data, write_lists
from tests.programs import ROOT, run_program

SETTINGS = {
    "data.image_size": 36,
    "data.crop_size": 32,
    "data.num_queries": 10,
    "data.num_train": 20,
    "model.name": "small",
    "model.bits": 8,
    "backbone.epochs": 1,
    "pretrain.epochs": 1,
    "defense.epochs": 1,
    "evaluate.attacks": "noise",
    "backbone.batch_size": 8,
    "pretrain.batch_size": 8,
    "defense.batch_size": 8,
    "defense.steps": 1,
    "evaluate.batch_size": 8,
    "evaluate.gallery": 1,
    "checkpoint_seconds": 0,
}
DRAWN = ("data.num_queries", "data.num_train")


def flickr_source(folder):
    names = layouts.FLICKR_LABELS
    labels = {name: range(i % 4 + 1, 41, i % 5 + 2) for i, name in enumerate(names)}
    return layouts.flickr(folder, layouts.coco_photos(40), labels)


def nus_source(folder):
    names = layouts.NUS_LABELS
    labels = {name: range(i % 4, 40, i % 5 + 2) for i, name in enumerate(names)}
    return layouts.nus(folder, layouts.coco_photos(40), labels, halves=True)


def cifar_source(folder):
    return layouts.cifar_python(folder, layouts.cifar_batches(12))


def coco_source(folder):
    del folder
    return SHARED / "coco-mini"


def run(name, source, workdir, cache, **changes):
    given = SETTINGS | {"data.source": source, "compilation_cache": cache} | changes
    config = ROOT / "experiments" / "configs" / f"{name}.py"
    settings = [f"--config.{key}={value}" for key, value in given.items()]
    flags = [f"--config={config}", *settings, f"--workdir={workdir}"]
    done = run_program("experiments.main", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads((workdir / "results.json").read_text())["records"]


def check(records, name, workdir, split):
    assert {record["attack"] for record in records} == {"clean", "noise"}
    config = importlib.import_module(f"experiments.configs.{name}").get_config()
    settings = config.data
    released = split.endswith("released")
    for key, value in SETTINGS.items():
        if key.startswith("data.") and not (released and key in DRAWN):
            setattr(settings, key.removeprefix("data."), value)
    settings.split = "released" if released else "paper"
    dataset = load_dataset(settings, workdir / "data", progress=False)
    bounds = map_bounds(
        dataset.labels[dataset.split.query], dataset.labels[dataset.split.database]
    )
    for record in records:
        assert record["dataset"] == name
        assert record["split"] == dataset.split.name == split
        assert record["split_sha256"] == dataset.split.sha256
        assert record["chance"] == pytest.approx(bounds.chance, abs=1e-9)
        assert 0 <= record["map"] <= record["ceiling"] == pytest.approx(bounds.ceiling)


@needs_shared_data
@pytest.mark.long
def test_the_released_split_of_flickr_from_the_original_files(tmp_path, cache):
    source = flickr_source(tmp_path / "source")
    rows = released_rows(source)
    lists = {"test": rows[:10], "train": rows[10:30], "database": rows[10:]}
    write_lists(tmp_path / "lists", lists)
    changes = {"data.splits": tmp_path / "lists", "data.split": "released"}
    changes |= dict(zip(DRAWN, (1_000, 5_000), strict=True))  # the configuration's
    changes |= {"model.weights": "random", "backbone.epochs": 0, "defense.epochs": 0}
    workdir = tmp_path / "run"
    records = run("flickr25k", source, workdir, cache, **changes)
    check(records, "flickr25k", workdir, "flickr25k-released")


def released_rows(source):
    """As the released lists: the columns in their order, from the label files."""
    numbers = [
        (source / "annotations" / f"{name}.txt").read_text().split()
        for name in CLASS_NAMES
    ]
    return [
        (f"im{i}.jpg", " ".join(str(int(str(i) in column)) for column in numbers))
        for i in range(1, 41)
    ]


@pytest.mark.long
@needs_shared_data
@pytest.mark.parametrize(
    "name, make",
    [
        ("flickr25k", flickr_source),
        ("nus_wide", nus_source),
        ("coco", coco_source),
        ("cifar10", cifar_source),
    ],
)
def test_every_data_set_from_its_original_files(tmp_path, cache, name, make):
    workdir = tmp_path / "run"
    records = run(name, make(tmp_path / "source"), workdir, cache)
    check(records, name, workdir, f"{name}-10q-20t-seed0")


def test_every_configuration_names_a_data_set_with_the_papers_sizes():
    for name, facts in KNOWN.items():
        config = importlib.import_module(f"experiments.configs.{name}").get_config()
        assert isinstance(config, Config)
        assert config.data.name == name
        queries, _, train = facts.paper
        assert (config.data.num_queries, config.data.num_train) == (queries, train)
    networks = {
        name: importlib.import_module(f"experiments.configs.{name}").get_config().model
        for name in KNOWN
    }
    backbones = {name: model.name for name, model in networks.items()}
    assert backbones == {
        "flickr25k": "alexnet",
        "nus_wide": "vgg11",
        "coco": "vgg11",
        "cifar10": "small",
    }
    assert {model.bits for model in networks.values()} == {32}
