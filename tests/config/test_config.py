import dataclasses
import json

import pytest

from cgat_jax import config as c
from cgat_jax import errors
from cgat_jax.config import settings as tools


def test_every_setting_has_a_help_text_and_a_default():
    for key, value, text in tools.settings(c.Config()):
        assert text and isinstance(value, int | float | str | bool), key


def test_json_keeps_every_setting():
    assert json.loads(tools.to_json(c.Config())) == dataclasses.asdict(c.Config())


def test_changed_settings_are_named_and_absent_ones_have_their_defaults():
    new = dataclasses.replace(c.Config(), seed=1, loss=c.Loss(eta=0.5))
    old, new = dataclasses.asdict(c.Config()), dataclasses.asdict(new)
    changes = tools.changed_settings(old, new)
    assert changes == [("loss.eta", 0.001, 0.5), ("seed", 0, 1)]
    assert str(changes[0]) == "loss.eta: 0.001 -> 0.5"
    del old["seed"]
    assert tools.changed_settings(old, new) == changes
    del new["data"]["enlarge"]  # an older run's, which lacks what is younger
    assert tools.changed_settings(old, new) == changes


def test_settings_that_affect_no_result_are_free():
    free = tools.free_settings()
    assert {"data.root", "evaluate.attacks", "compilation_cache"} <= free
    assert not free & {"seed", "data.name", "defense.weight", "evaluate.epsilon"}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("defense", "bank", "hard"),
        ("defense", "epsilon", 8.0),
        ("defense", "steps", -1),
        ("model", "bits", 0),
        ("pretrain", "learning_rate", float("nan")),
        ("pretrain", "batch_size", 0),
        ("data", "crop_size", 300),
    ],
)
def test_a_value_out_of_range_is_named(section, key, value):
    config = c.Config()
    setattr(getattr(config, section), key, value)
    with pytest.raises(ValueError, match=f"{section}.{key}"):
        tools.validate(config)


def test_lookup_lists_the_known_and_the_nearest():
    with pytest.raises(ValueError, match=r"unknown pet 'cta'; known: \['cat', 'dog'\]"):
        errors.lookup("pet", "cta", {"dog": 1, "cat": 2})


def test_a_configuration_survives_its_json():
    config = c.Config()
    config.evaluate.attacks, config.defense.weight = "hag", 2.5
    assert tools.from_json(tools.to_json(config)) == config
    assert tools.from_json('{"seed": 3}').seed == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"defense": 3}', "defense.: expected an object"),
        ('{"sead": 3}', "unknown setting sead; did you mean 'seed'"),
    ],
)
def test_a_damaged_configuration_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        tools.from_json(text)
