"""Checkpoints: save, restore, and what to do about damaged ones.

A checkpoint is the training state, a digest of its arrays and one of each file. Orbax
writes it to a temporary folder and renames it, so that a kill leaves the previous ones
untouched; it never reads a file that is not as it was written.
"""

import contextlib
import functools
import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from cgat_jax import processes
from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import set_aside
from cgat_jax.training import damage
from cgat_jax.training.orbax_noise import quiet, reason_of, sweep

_log = logging.getLogger(__name__)
_MARGIN = 10**6  # bytes that a checkpoint takes besides its arrays
_UNFINISHED = "[0-9]*.orbax-checkpoint-tmp*"


def open_checkpoints(
    folder: Path, keep: int = 2, *, read_only: bool = False
) -> ocp.CheckpointManager:
    """The checkpoints under a folder (made if absent); the newest ``keep`` stay.

    Unless ``read_only``, what a kill left of one is removed.
    """
    if not read_only:
        processes.from_first(lambda: _remove_unfinished(folder))
    with quiet():
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep,
            enable_async_checkpointing=False,
            read_only=read_only,
            create=not read_only,
        )
        return ocp.CheckpointManager(folder.absolute(), options=options)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(_UNFINISHED):
        shutil.rmtree(path, ignore_errors=True)


def save(manager: ocp.CheckpointManager, step: int, state: Any) -> None:
    """Writes the state of a step; returns when it is safely on disk.

    Raises:
        OSError: it cannot be written (a full disk); names the folder. Those before it
            stay.
    """
    leaves = _leaves(state)
    size = sum(leaf.nbytes for leaf in leaves.values())
    processes.from_first(lambda: _check_room(Path(manager.directory), step, size))
    meta = {"sha256": _digest(leaves)}
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(meta)
    )
    text = ""
    with quiet():
        try:
            manager.save(step, args=args, force=True)
            manager.wait_until_finished()
        except Exception as error:  # what Orbax and its storage make of an OSError
            text = reason_of(error)
        if text:
            sweep()
    if text:
        raise _not_written(manager.directory, step, text)
    folder = Path(manager.directory) / str(step)
    processes.from_first(lambda: damage.note_files(folder))


def _check_room(folder: Path, step: int, size: int) -> None:
    """Finds that a checkpoint fits on the disk.

    Raises:
        OSError: it does not.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _MARGIN:
        room = f"it takes {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        raise _not_written(folder, step, room)


def _not_written(folder: object, step: int, why: str) -> OSError:
    return OSError(
        f"{folder}: the checkpoint of step {step} is not written ({why}); make room, "
        "the same command goes on from the one before"
    )


def restore_latest(
    manager: ocp.CheckpointManager, like: Any, *, mend: bool = True
) -> Any | None:
    """The newest state that is whole, or None where there is none.

    Damaged ones are set aside by name, so that training goes on from the one before, or
    from the beginning, and writes them anew.

    Args:
        manager: from ``open_checkpoints``.
        like: a state with the structure, shapes and shardings to restore.
        mend: False only warns of damaged ones, for the folder of another run.

    Raises:
        DamagedFileError: there are checkpoints, but none can be read, and they are
            another run's.
        OSError, MemoryError, JaxRuntimeError: they cannot be read now.
        ToldElsewhere: by another process, which may have other reasons.
    """
    steps = processes.from_first(lambda: sorted(manager.all_steps(), reverse=True))
    problems: dict[int, str] = {}
    for step in steps:
        with quiet():
            state = problem = None
            try:
                state = _restore(manager, step, like)
            except Exception as error:  # whatever a damaged file makes Orbax raise
                problem = error
            if damaged := damage.are_damaged(problem):
                problems[step] = reason_of(problem)
                problem = None  # with its traceback, before the sweep
                sweep()
            elif problem is not None:
                raise problem
        if not damaged:
            _pass_over(manager, problems, mend)
            return state
    if mend:
        _pass_over(manager, problems, mend)
    elif problems:
        reasons = "; ".join(f"step {step}: {why}" for step, why in problems.items())
        raise DamagedFileError(
            f"no usable checkpoint in {manager.directory} ({reasons}): run that run's "
            "command again, which makes them anew"
        )
    return None


def stored_shapes(manager: ocp.CheckpointManager) -> dict[str, Any]:
    """What a state is like whose structure is not known: to give to ``restore_latest``.

    Returns:
        Shape and type of every array by its dotted name, of the newest checkpoint that
        tells them, for the first device; nothing where none does.
    """
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    for step in sorted(manager.all_steps(), reverse=True):
        folder = Path(manager.directory) / str(step) / "state"
        with quiet(), contextlib.suppress(Exception):  # whatever damage makes it raise
            found = ocp.StandardCheckpointer().metadata(folder).item_metadata
            return {
                name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=device)
                for name, array in found.items()
            }
    return {}


def digest_of(tree: Any) -> str:
    """SHA-256 of the names, types, shapes and values of all arrays of a tree."""
    return _digest(_leaves(jax.device_get(tree)))


def _pass_over(manager, problems: dict[int, str], mend: bool) -> None:
    folders = {Path(manager.directory) / str(step): problems[step] for step in problems}
    if mend and problems:
        processes.from_first(
            lambda: [str(set_aside(*problem)) for problem in folders.items()]
        )
        manager.reload()
    elif processes.is_first():
        for problem in folders.items():
            _log.warning("%s is not usable, the one before is taken (%s)", *problem)


def _restore(manager, step: int, like: Any) -> Any:
    folder = Path(manager.directory) / str(step)
    processes.from_first(lambda: damage.check_files(folder))
    with processes.together():  # in Orbax, the others would wait for one that fails
        damage.check_seen(folder)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _leaves(like))
    args = ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
    )
    with processes.together():
        restored = manager.restore(step, args=args)
        leaves = restored["state"]
        if _digest(leaves) != restored["meta"]["sha256"]:
            raise DamagedFileError("its bytes do not match their digest")
    ordered = [leaves[key] for key in _leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), ordered)


def _leaves(state: Any) -> dict[str, Any]:
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    named = functools.partial(jax.tree_util.keystr, simple=True, separator=".")
    return {named(path): leaf for path, leaf in flat}


def _digest(leaves: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for key in sorted(leaves):
        array = np.ascontiguousarray(leaves[key])
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
