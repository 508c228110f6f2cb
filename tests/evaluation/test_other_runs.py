import dataclasses

import pytest

from cgat_jax.config.settings import to_json
from cgat_jax.evaluation import other_runs
from tests import tiny_config


def _workdir(folder, config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(to_json(config))
    return folder


def test_sources_are_named_by_their_folders(tmp_path):
    config = tiny_config.get_config()
    for name in ("csq", "dch"):
        _workdir(tmp_path / name, dataclasses.replace(config, seed=5))
    config.evaluate.sources = f"{tmp_path / 'csq'}, {tmp_path / 'dch'},"
    assert list(other_runs.source_workdirs(config)) == ["csq", "dch"]
    other_runs.check_sources(config)
    assert other_runs.read_config(tmp_path / "csq").seed == 5


def test_two_sources_of_one_name_are_refused(tmp_path):
    config = tiny_config.get_config()
    config.evaluate.sources = f"{tmp_path}/a/run,{tmp_path}/b/run"
    with pytest.raises(ValueError, match="two folders are named 'run'"):
        other_runs.source_workdirs(config)


def test_a_source_may_differ_in_how_data_are_read_but_not_in_the_data(tmp_path):
    config, other = tiny_config.get_config(), tiny_config.get_config()
    other.data.threads = 7
    config.evaluate.sources = str(_workdir(tmp_path / "one", other))
    other_runs.check_sources(config)
    other.data.num_queries = 7
    config.evaluate.sources = str(_workdir(tmp_path / "two", other))
    with pytest.raises(ValueError, match=r"two has other data .*num_queries: 7 -> 20"):
        other_runs.check_sources(config)


def test_a_damaged_source_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: damaged, not valid JSON"):
        other_runs.read_config(tmp_path)
