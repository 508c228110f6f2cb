"""Stages that another run has finished, only read."""

import contextlib
from pathlib import Path

from jax.sharding import Mesh

from cgat_jax import sharding
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError
from cgat_jax.training import checkpoint
from cgat_jax.training.loop import Stage, epoch_steps
from cgat_jax.types import TrainState


def check_finished(workdir: Path, stage: str, total: int) -> None:
    """Finds that another run has finished a stage, without reading it.

    Raises:
        InputError: it has not.
    """
    found = (workdir / stage / "checkpoints").glob("[0-9]*")
    step = max((int(path.name) for path in found if path.name.isdigit()), default=0)
    if step < total:
        raise InputError(
            f"{workdir}: its stage {stage} is at step {step} of {total}: finish that "
            "run first"
        )


def load_finished(
    stage: Stage, dataset: Dataset, mesh: Mesh, workdir: Path
) -> TrainState:
    """The last state of a stage that another run has finished.

    Raises:
        InputError: it has not finished it, or its checkpoints are damaged.
    """
    total = stage.settings.epochs * epoch_steps(dataset, stage.settings)
    folder = workdir / stage.name / "checkpoints"
    state = None
    if folder.is_dir():
        like = sharding.put_whole(mesh, stage.initial_state())
        opened = checkpoint.open_checkpoints(folder, read_only=True)
        with contextlib.closing(opened) as manager:
            state = checkpoint.restore_latest(manager, like, mend=False)
    step = int(state.step) if state is not None else 0
    if state is None or step < total:
        raise InputError(
            f"{workdir}: its stage {stage.name} is at step {step} of {total}: finish "
            "that run first"
        )
    return state
