"""Settings that a data set does not use are refused, all at once."""

import dataclasses
import importlib

import pytest

from cgat_jax.config import Data
from cgat_jax.config.settings import free_settings
from cgat_jax.data import DataError, check_settings, load_dataset
from cgat_jax.data.checks.unused import _UNUSED

CHANGED = {
    "split": "released",
    "splits": "lists",
    "num_queries": 50,
    "num_train": 60,
    "num_database": 70,
    "split_seed": 3,
    "root": "data",
    "source": "photos",
    "enlarge": False,
    "query_fraction": 0.2,
    "train_fraction": 0.5,
}
NAMED = {
    "lists": {
        *("split", "splits", "num_queries", "num_train", "num_database", "split_seed"),
        *("query_fraction", "train_fraction"),
    },
    "quickstart": {
        *("root", "source", "split", "splits", "enlarge", "query_fraction"),
        "train_fraction",
    },
    "photos": {"split", "splits", "query_fraction", "train_fraction"},
}


@pytest.mark.parametrize("name", NAMED)
def test_each_is_refused_with_its_value_and_all_together(tmp_path, name):
    for key in CHANGED:
        settings = Data(name=name, **{key: CHANGED[key]})
        if key not in NAMED[name]:
            check_settings(settings)
            continue
        with pytest.raises(DataError) as caught:
            load_dataset(settings, tmp_path / "root", progress=False)
        user = name
        if name == "photos" and "fraction" in key:  # numbers are given by default
            user = {"query": "num_queries=5000", "train": "num_train=10000"}[key[:5]]
        start = f"data.{key}={CHANGED[key]} is not used with {user}: "
        assert str(caught.value).startswith(start)
        assert str(caught.value).endswith("; leave it out")
    with pytest.raises(DataError) as caught:
        check_settings(Data(name=name, **CHANGED))
    lines = str(caught.value).splitlines()
    assert {line.split("=")[0] for line in lines} == {f"data.{k}" for k in NAMED[name]}
    assert not (tmp_path / "root").exists()


def test_defaults_and_other_data_sets_pass():
    for name in ("lists", "quickstart", "coco", "cifar10"):
        check_settings(Data(name=name))
    drawn = {"query_fraction": 0.1, "train_fraction": 1.0, "split": "paper"}
    check_settings(Data(name="coco", **CHANGED | drawn | {"splits": ""}))
    assert set(_UNUSED) == set(NAMED)


@pytest.mark.parametrize("name", ["coco", "flickr25k", "nus_wide"])
def test_lists_of_a_split_that_is_drawn_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="^data.splits=lists is not used with split=pa"):
        load_dataset(Data(name=name, splits="lists"), tmp_path, progress=False)
    check_settings(Data(name=name, splits="lists", split="released"))
    assert "data.splits" in free_settings()  # so that a begun run may leave it out


def test_a_data_set_without_released_lists_takes_none():
    with pytest.raises(DataError) as caught:
        check_settings(Data(name="cifar10", split="released", splits="lists"))
    for line, key in zip(
        str(caught.value).splitlines(), ("split", "splits"), strict=True
    ):
        assert line.startswith(f"data.{key}=")
        assert line.endswith("with cifar10: it has no released lists; leave it out")


DRAWN = "num_queries", "num_train", "num_database", "split_seed"


@pytest.mark.parametrize("name", ["coco", "flickr25k", "nus_wide"])
def test_a_released_split_takes_no_sizes(tmp_path, name):
    for key in DRAWN:
        settings = Data(name=name, split="released", **{key: CHANGED[key]})
        with pytest.raises(DataError) as caught:
            load_dataset(settings, tmp_path / "root", progress=False)
        start = f"data.{key}={CHANGED[key]} is not used with split=released: "
        assert str(caught.value).startswith(start)
    changed = {key: CHANGED[key] for key in CHANGED if "fraction" not in key}
    with pytest.raises(DataError) as caught:
        check_settings(Data(name=name, **changed))
    lines = str(caught.value).splitlines()
    assert [line.split("=")[0] for line in lines] == [
        f"data.{key}" for key in ("num_queries", "num_database", "num_train")
    ] + ["data.split_seed"]
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("name", ["coco", "flickr25k", "nus_wide"])
def test_the_configurations_take_their_released_split(name):
    config = importlib.import_module(f"experiments.configs.{name}").get_config()
    check_settings(dataclasses.replace(config.data, split="released"))
