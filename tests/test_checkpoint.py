import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import checkpoint
from cgat_jax.types import Bank, TrainState


def _state(value):
    params = {"model": {"w": jnp.full((2, 3), value)}, "loss": {}}
    bank = Bank(jnp.full((4, 2), value), jnp.eye(4))
    step = jnp.array(int(value), jnp.int32)
    return TrainState(step, params, {}, {}, bank, ({"w": jnp.zeros(3)}, ()))


@pytest.fixture
def manager(tmp_path):
    manager = checkpoint.open_checkpoints(tmp_path / "checkpoints")
    yield manager
    manager.close()


def test_a_state_comes_back_byte_for_byte(manager):
    checkpoint.save(manager, 7, _state(7.0))
    restored = checkpoint.restore_latest(manager, _state(0.0))
    assert jax.tree.structure(restored) == jax.tree.structure(_state(7.0))
    jax.tree.map(np.testing.assert_array_equal, restored, _state(7.0))


def test_without_checkpoints_there_is_none(manager):
    assert checkpoint.restore_latest(manager, _state(0.0)) is None


def test_the_newest_two_stay(manager):
    for step in (1, 2, 3):
        checkpoint.save(manager, step, _state(float(step)))
    assert sorted(manager.all_steps()) == [2, 3]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    manager, tmp_path, damage
):
    for step in (1, 2):
        checkpoint.save(manager, step, _state(float(step)))
    folder = tmp_path / "checkpoints" / "2" / "state"
    data = [path for path in folder.rglob("*") if path.is_file()]
    for path in data:
        content = bytearray(path.read_bytes())
        if damage == "remove":
            path.unlink()
        elif damage == "truncate":
            path.write_bytes(content[: len(content) // 2])
        elif content:
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    restored = checkpoint.restore_latest(manager, _state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, _state(1.0))


def test_with_none_usable_the_folder_is_named(manager, tmp_path):
    checkpoint.save(manager, 1, _state(1.0))
    for path in (tmp_path / "checkpoints" / "1" / "state").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(ValueError, match="no usable checkpoint in .*checkpoints"):
        checkpoint.restore_latest(manager, _state(0.0))
