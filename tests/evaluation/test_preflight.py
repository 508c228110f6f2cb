"""Settings that cannot do what they say are refused before anything is trained."""

import contextlib

import jax
import pytest

from cgat_jax.errors import InputError
from cgat_jax.evaluation.preflight import check_settings
from cgat_jax.evaluation.unused import check_options
from cgat_jax.losses import LOSSES
from tests import tiny_config


def config_of(section: str, **changes):
    config = tiny_config.get_config()
    section = getattr(config, section)
    for key, value in changes.items():
        setattr(section, key, value)
    return config


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        (
            "defense",
            {"name": "standard", "awp": 0.005},
            "defense.awp=0.005 is not used",
        ),
        ("defense", {"name": "saat", "centers": "cosine"}, "defense.centers=cosine is"),
        ("defense", {"name": "at_self", "bank": "binary"}, "used by at_self: leave it"),
        ("loss", {"name": "csq", "eta": 5.0}, "loss.eta=5.0 is not used by csq: leave"),
        ("loss", {"name": "dpsh", "redraw": True}, "loss.redraw=True is not used by"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(section, changes, message):
    with pytest.raises(InputError, match=message):
        check_settings(config_of(section, **changes))


@pytest.mark.parametrize("name", ["csq", "csq_c"])
def test_a_code_length_that_a_loss_has_no_centers_for_is_refused(name):
    config = config_of("loss", name=name)
    check_settings(config)
    config.model.bits = 48
    with pytest.raises(InputError, match="csq needs model.bits to be a power of two"):
        check_settings(config)


def test_codes_of_one_bit_are_refused_where_a_loss_cannot_train_them():
    config = config_of("loss", name="dch")
    check_settings(config)
    config.model.bits = 1
    with pytest.raises(InputError, match="dch needs model.bits to be 2 or more, got 1"):
        check_settings(config)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_its_own_defaults(name):
    check_options(config_of("loss", name=name))


def test_a_stage_that_is_left_out_asks_nothing_of_options():
    check_options(config_of("defense", name="standard", awp=0.005, epochs=0))


def test_an_option_of_before_stays_with_its_run_and_its_network(tmp_path):
    """Else neither the run could go on nor its network be defended."""
    config = config_of("loss", name="csq", eta=0.5)
    check_settings(config, is_new=False)
    config.pretrained = str(tmp_path)
    check_options(config)
    config.defense.name, config.defense.awp = "standard", 0.005
    with pytest.raises(InputError, match="defense.awp=0.005 is not used"):
        check_options(config)


def test_any_number_of_devices_goes_on_with_a_run(monkeypatch):
    """Batches of 16 are padded on six of them."""
    monkeypatch.setattr(jax, "device_count", lambda: 6)
    check_settings(tiny_config.get_config())


@pytest.mark.parametrize("dropout, refused", [(0.9, True), (0.5, False), (0.0, False)])
def test_dropout_is_refused_where_the_network_has_none(dropout, refused):
    config = tiny_config.get_config()
    config.model.name, config.model.dropout = "resnet18", dropout
    where = (
        pytest.raises(InputError, match="model.dropout=0.9 is not used by resnet18")
        if refused
        else contextlib.nullcontext()
    )
    with where:
        check_options(config)
