import contextlib
import errno
import resource
import shutil
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.errors import DamagedFileError, ToldElsewhere
from cgat_jax.training import checkpoint, orbax_noise
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


def _damage(folder, how):
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        content = bytearray(path.read_bytes())
        if how == "remove":
            path.unlink()
        elif how == "truncate":
            path.write_bytes(content[: len(content) // 2])
        elif content:
            content[len(content) // 2] ^= 1
            path.write_bytes(content)


@contextlib.contextmanager
def files_of_at_most(size):
    """As on a full disk, or with a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["state", "meta"])
@pytest.mark.parametrize("how", ["truncate", "flip", "remove"])
def test_a_damaged_newest_checkpoint_is_set_aside_and_written_anew(
    manager, tmp_path, how, part
):
    for step in (1, 2):
        checkpoint.save(manager, step, _state(float(step)))
    folder = tmp_path / "checkpoints"
    _damage(folder / "2" / part, how)
    restored = checkpoint.restore_latest(manager, _state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, _state(1.0))
    assert (folder / "2.damaged-1").is_dir() and not (folder / "2").exists()
    checkpoint.save(manager, 2, _state(2.0))
    restored = checkpoint.restore_latest(manager, _state(0.0))
    jax.tree.map(np.testing.assert_array_equal, restored, _state(2.0))


@pytest.mark.slow
def test_every_file_of_a_checkpoint_may_be_damaged(tmp_path):
    """One flipped byte in any file: the state before comes back."""
    source = tmp_path / "whole"
    with contextlib.closing(checkpoint.open_checkpoints(source)) as manager:
        for step in (1, 2):
            checkpoint.save(manager, step, _state(float(step)))
    names = sorted(p.relative_to(source) for p in (source / "2").rglob("*"))
    for name in [name for name in names if (source / name).is_file()]:
        folder = tmp_path / "copy"
        shutil.copytree(source, folder)
        content = bytearray((folder / name).read_bytes())
        if content:
            content[len(content) // 3] ^= 4
        (folder / name).write_bytes(content)
        with contextlib.closing(checkpoint.open_checkpoints(folder)) as manager:
            restored = checkpoint.restore_latest(manager, _state(0.0))
            step = int(restored.step)
            expected = _state(float(step))
            jax.tree.map(np.testing.assert_array_equal, restored, expected)
            assert step == 1 and (folder / "2.damaged-1").is_dir(), name
            checkpoint.save(manager, 3, _state(3.0))
        shutil.rmtree(folder)


@pytest.mark.parametrize("how", ["truncate", "flip", "remove"])
def test_one_that_was_killed_before_its_digests_is_checked_by_its_arrays(
    manager, tmp_path, how
):
    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        checkpoint.save(manager, step, _state(float(step)))
        (folder / str(step) / "files.json").unlink()
    assert int(checkpoint.restore_latest(manager, _state(0.0)).step) == 2
    _damage(folder / "2" / "state", how)
    assert int(checkpoint.restore_latest(manager, _state(0.0)).step) == 1


def test_another_runs_checkpoints_are_left_as_they_are(tmp_path):
    folder = tmp_path / "checkpoints"
    with contextlib.closing(checkpoint.open_checkpoints(folder)) as manager:
        for step in (1, 2):
            checkpoint.save(manager, step, _state(float(step)))
    _damage(folder / "2" / "meta", "flip")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    opened = checkpoint.open_checkpoints(folder, read_only=True)
    with contextlib.closing(opened) as manager:
        restored = checkpoint.restore_latest(manager, _state(0.0), mend=False)
    assert int(restored.step) == 1
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_checkpoint_that_cannot_be_written_is_one_line_with_its_folder(manager):
    checkpoint.save(manager, 1, _state(1.0))
    with files_of_at_most(0):
        with pytest.raises(OSError, match="checkpoints: the checkpoint of step 2") as e:
            checkpoint.save(manager, 2, _state(2.0))
    assert "\n" not in str(e.value)
    checkpoint.save(manager, 3, _state(3.0))
    restored = checkpoint.restore_latest(manager, _state(0.0))
    assert int(restored.step) == 3


@pytest.mark.slow
def test_with_none_usable_the_stage_begins_anew_but_for_another_run(manager, tmp_path):
    checkpoint.save(manager, 1, _state(1.0))
    folder = tmp_path / "checkpoints"
    _damage(folder / "1" / "state", "remove")
    with pytest.raises(DamagedFileError, match="no usable checkpoint in .*checkpoints"):
        checkpoint.restore_latest(manager, _state(0.0), mend=False)
    assert checkpoint.restore_latest(manager, _state(0.0)) is None
    assert (folder / "1.damaged-1").is_dir()
    checkpoint.save(manager, 1, _state(1.0))
    assert int(checkpoint.restore_latest(manager, _state(0.0)).step) == 1


def test_a_disk_that_fills_while_orbax_writes_prints_nothing(manager, capfd):
    """Past the comparison with the free space, as with a quota."""
    checkpoint.save(manager, 1, _state(1.0))
    with files_of_at_most(100):
        with pytest.raises(OSError, match="step 2 is not written"):
            checkpoint.save(manager, 2, _state(2.0))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9"),
        MemoryError(),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.ETIMEDOUT, "Connection timed out"),
        ToldElsewhere("process 1: Stale file handle"),
    ],
    ids=["device", "host", "stale", "timed out", "elsewhere"],
)
@pytest.mark.parametrize("mend", [True, False])
def test_what_is_no_damage_leaves_every_checkpoint(
    manager, tmp_path, monkeypatch, error, mend
):
    checkpoint.save(manager, 1, _state(1.0))

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(manager, "restore", fail)
    with pytest.raises(type(error)):
        checkpoint.restore_latest(manager, _state(0.0), mend=mend)
    monkeypatch.undo()
    assert int(checkpoint.restore_latest(manager, _state(0.0)).step) == 1
    assert not [*tmp_path.rglob("*damaged*")]


def test_what_a_kill_left_of_a_checkpoint_is_removed_by_the_next_run(tmp_path):
    folder = tmp_path / "checkpoints"
    with contextlib.closing(checkpoint.open_checkpoints(folder)) as manager:
        checkpoint.save(manager, 1, _state(1.0))
        with files_of_at_most(100):
            with pytest.raises(OSError, match="step 2 is not written"):
                checkpoint.save(manager, 2, _state(2.0))
    left = {path.name for path in folder.iterdir()} - {"1", "metadata"}
    assert left  # the test would say nothing if Orbax removed it itself
    with contextlib.closing(checkpoint.open_checkpoints(folder, read_only=True)):
        assert left <= {path.name for path in folder.iterdir()}
    with contextlib.closing(checkpoint.open_checkpoints(folder)) as manager:
        assert not left & {path.name for path in folder.iterdir()}
        assert int(checkpoint.restore_latest(manager, _state(0.0)).step) == 1


def test_what_comes_late_of_a_damaged_checkpoint_is_not_said(
    manager, tmp_path, monkeypatch
):
    """A thread of the storage that comes to its closed event loop minutes later."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: said.append(args.exc_value))
    monkeypatch.setattr(sys, "excepthook", lambda *args: said.append(args[1]))
    orbax_noise.hush_stragglers.cache_clear()
    checkpoint.save(manager, 1, _state(1.0))
    _damage(tmp_path / "checkpoints" / "1", "truncate")
    assert checkpoint.restore_latest(manager, _state(0.0)) is None
    late, other = RuntimeError("Event loop is closed"), RuntimeError("another")
    for error in (late, other):
        sys.unraisablehook(types.SimpleNamespace(exc_value=error))
        sys.excepthook(RuntimeError, error, None)
    assert said == [other, other]
    orbax_noise.hush_stragglers.cache_clear()
