"""Checkpoints: save, restore, and what to do about damaged ones.

A checkpoint is the training state and a digest of its bytes. Orbax writes it to a
temporary folder and renames it, so that a kill leaves the previous ones untouched.
"""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

_log = logging.getLogger(__name__)


def open_checkpoints(folder: Path, keep: int = 2) -> ocp.CheckpointManager:
    """The checkpoints under a folder (made if absent); the newest ``keep`` stay."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, enable_async_checkpointing=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ocp.CheckpointManager(folder.absolute(), options=options)


def save(manager: ocp.CheckpointManager, step: int, state: Any) -> None:
    """Writes the state of a step; returns when it is safely on disk."""
    leaves = _leaves(state)
    meta = {"sha256": _digest(leaves)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(meta)
            ),
            force=True,
        )
        manager.wait_until_finished()


def restore_latest(manager: ocp.CheckpointManager, like: Any) -> Any | None:
    """The newest state that is whole, or None where there is no checkpoint.

    Args:
        manager: from ``open_checkpoints``.
        like: a state with the structure, shapes and shardings to restore.

    Raises:
        ValueError: there are checkpoints, but none can be read.
    """
    steps, problems = sorted(manager.all_steps(), reverse=True), []
    for step in steps:
        try:
            return _restore(manager, step, like)
        except Exception as error:  # whatever a damaged file makes Orbax raise
            text = " ".join(str(error).split())[:200]
            problems.append(f"step {step}: {text}")
            _log.warning("checkpoint not usable, %s", problems[-1])
    if problems:
        raise ValueError(
            f"no usable checkpoint in {manager.directory} ({'; '.join(problems)}): "
            "remove the folder to start this stage again"
        )
    return None


def _restore(manager, step: int, like: Any) -> Any:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _leaves(like))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        restored = manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
            ),
        )
    leaves = restored["state"]
    if _digest(leaves) != restored["meta"]["sha256"]:
        raise ValueError("its bytes do not match their digest")
    structure = jax.tree.structure(like)
    return jax.tree.unflatten(structure, [leaves[key] for key in _leaves(like)])


def _leaves(state: Any) -> dict[str, Any]:
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in flat
    }


def _digest(leaves: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for key in sorted(leaves):
        array = np.ascontiguousarray(leaves[key])
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
