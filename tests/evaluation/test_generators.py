"""How ProS-GAN's generators are trained is the same on any machine."""

import jax
import pytest

from cgat_jax import sharding
from cgat_jax.attacks.prosgan_step import BATCH_SIZE
from cgat_jax.data import load_dataset
from cgat_jax.evaluation.generators import Generators
from tests import tiny_config


@pytest.mark.parametrize("devices", [5, 7, 16])
def test_the_number_of_devices_changes_no_step(tmp_path, monkeypatch, devices):
    config = tiny_config.get_config()
    dataset = load_dataset(config.data, tmp_path, progress=False)
    mesh = sharding.make_mesh()
    parts = config, dataset, mesh, tmp_path, lambda: None
    alone = Generators(*parts)._settings()
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert Generators(*parts)._settings() == alone
    rows = sharding.shared_rows(BATCH_SIZE)
    assert rows % devices == 0 and BATCH_SIZE <= rows < BATCH_SIZE + devices
    assert alone.steps_per_epoch == -(-88 // BATCH_SIZE)
    assert alone.log_steps == config.log_steps
