"""Settings that are left open for a user's own photos, chosen by looking at them.

Open are a network without a name, sizes and batches of 0 and epochs of -1. They are
chosen once, by the number and the size of the photos and the kind of device: what is
written into the run's ``config.json`` stays when the run goes on.

On a CPU, epochs and the photos' size follow ``time_budget``, so that 3,000 photos take
minutes on two cores. The choices for GPUs have not been measured.
"""

import contextlib
import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from cgat_jax.config import Config, Model
from cgat_jax.config.loading import override
from cgat_jax.config.settings import settings
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.evaluation.costs import forward_flops, measured_speed
from cgat_jax.evaluation.photo_sizes import Photos, look
from cgat_jax.evaluation.time_budget import (
    ENOUGH,
    SAME_COST_SIDE,
    STAGES,
    epoch_scale,
)
from cgat_jax.evaluation.workload import Sizes, num_networks, run_passes
from cgat_jax.files.io import read_sealed
from cgat_jax.files.ownership import kind_of
from cgat_jax.models import FIXED_SIZES
from cgat_jax.workdir import CONFIG_FILE, has_begun

_OPEN = {
    "model.name": "",
    **dict.fromkeys(("data.image_size", "data.crop_size"), 0),
    **{f"{stage}.epochs": -1 for stage in STAGES},
    **{f"{stage}.batch_size": 0 for stage in (*STAGES, "evaluate")},
}
_SIDES = {64: 72, 48: 54, 32: 32}  # what ``small`` sees, and the stored short side
_LARGE = {224: 256, 112: 128}  # the same of larger networks
_SMALL = {"small", "medium"}
_FIXED_SECONDS = 90.0  # compiling and the report
_OVER_FORWARD = 1.7  # a run, against its passes at that speed: 3,000 photos, measured


class Machine(NamedTuple):
    """The devices: ``cpu``, ``gpu`` or another kind, and how many."""

    platform: str
    devices: int


def open_settings(config: Config) -> list[str]:
    """Keys of the settings that are to be chosen; none but for photos."""
    if config.data.name != "photos":
        return []
    values = {key: value for key, value, _ in settings(config)}
    return [key for key, value in _OPEN.items() if values[key] == value]


def settle(
    config: Config,
    workdir: Path,
    looking: Callable[[], AbstractContextManager] = contextlib.nullcontext,
) -> tuple[dict[str, Any], list[str]]:
    """Values for the open settings: those of the run in the workdir, or chosen ones.

    Args:
        config: with settings that may be open.
        workdir: of the run.
        looking: entered while photos are looked at, which may take long: an archive
            is unpacked.

    Returns:
        The values by key, and lines on what was chosen, why, and how long it will take.

    Raises:
        InputError: what is wrong with the source or the size of the split.
    """
    keys = open_settings(config)
    if keys and (known := settled_before(workdir)):
        values = {key: known[key] for key in keys if key in known}
        return values, [f"chosen before, see {workdir / CONFIG_FILE}"]
    if not keys:
        return {}, []
    with looking():
        photos = look(config, workdir)
    machine = Machine(jax.default_backend(), jax.device_count())
    values, lines = choose(config, photos, machine)
    settled = copy.deepcopy(config)
    override(settled, values)
    minutes = expected_seconds(settled, photos.sizes) / 60
    time = f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
    return values, [*lines, f"time: about {time}, at the speed measured now"]


def choose(
    config: Config, photos: Photos, machine: Machine
) -> tuple[dict[str, Any], list[str]]:
    """Values for the open settings, a function of its arguments, and why these.

    Raises:
        InputError: weights are given, but not of which network they are.
    """
    given, train = config.model, photos.sizes.train
    check_named(given)
    small = machine.platform == "cpu" or photos.side < min(_LARGE)
    name = given.name or ("small" if small else "resnet18")
    stored = config.data.image_size or photos.stored
    crop = config.data.crop_size or (
        crop_of(stored) if stored else _crop(config, photos, name, machine)
    )
    stored = stored or (_SIDES | _LARGE).get(crop, crop)
    scale = _scale(config, photos, crop, machine)
    chosen = {"model.name": name, "data.image_size": stored, "data.crop_size": crop}
    chosen["evaluate.batch_size"] = 100
    for stage, epochs in STAGES.items():
        chosen[f"{stage}.epochs"] = max(1, round(scale * epochs))
        chosen[f"{stage}.batch_size"] = 64 if train >= 1_000 else 32
    values = {key: chosen[key] for key in open_settings(config)}
    settled = copy.deepcopy(config)
    override(settled, values)
    return values, _reasons(settled, photos, machine, values)


def check_named(model: Model) -> None:
    """Finds that it is said of which network weights are that are given.

    Raises:
        InputError: it is not.
    """
    if not model.name and model.weights not in ("", "packed", "random"):
        raise InputError(f"model.name: say which network {model.weights} is of")


def _crop(config: Config, photos: Photos, name: str, machine: Machine) -> int:
    """The largest side that the photos have and that leaves time for the epochs.

    Or the only one that the network takes.
    """
    if name in FIXED_SIZES:
        return FIXED_SIZES[name]
    sides = _SIDES if name in _SMALL else _SIDES | _LARGE
    fits = [side for side in sides if side <= photos.side] or [min(sides)]
    paid = [s for s in fits if _scale(config, photos, s, machine) > ENOUGH]
    cheap = [side for side in fits if side <= SAME_COST_SIDE]
    return max(paid or cheap or [min(fits)])


def crop_of(stored: int) -> int:
    """What of images is seen that are stored already with a short side."""
    known = {short: crop for crop, short in (_SIDES | _LARGE).items()}
    return known.get(stored, max(1, stored * 7 // 8))


def _scale(config: Config, photos: Photos, side: int, machine: Machine) -> float:
    on_cpu = machine.platform == "cpu"
    return epoch_scale(config, photos.sizes, side) if on_cpu else 1.0


def _reasons(
    config: Config, photos: Photos, machine: Machine, chosen: dict[str, Any]
) -> list[str]:
    """Lines on the settled configuration: what, why, and what of it was set."""
    sizes, data, on_cpu = photos.sizes, config.data, machine.platform == "cpu"
    kind = "a CPU" if on_cpu else f"{machine.devices} x {machine.platform.upper()}"
    why = "fewer, the more photos there are" if on_cpu else "as usual, not measured"
    made = [name for name in STAGES if name != "backbone" or not config.model.weights]
    given = [stage for stage in made if f"{stage}.epochs" not in chosen]
    some = len(given) < len(made)
    epochs = " + ".join(
        f"{getattr(config, stage).epochs}{' (as set)' * (some and stage in given)}"
        for stage in made
    )
    stages = ", ".join(made).replace("defense", "defend")
    return [
        f"photos: {sizes.train:,} train, {sizes.database:,} are the database, "
        f"{sizes.query:,} are queries; median short side {photos.side} pixels",
        f"network: {config.model.name} at {data.crop_size} pixels (stored at "
        f"{data.image_size}), from {config.model.weights or 'nothing'}: for {kind} and "
        "photos of that size and number",
        f"training: {epochs} epochs ({stages}), batches of "
        f"{config.pretrain.batch_size}: {why if some else 'as set'}",
    ]


def expected_seconds(config: Config, sizes: Sizes) -> float:
    """How long a run takes on this machine at the speed that is measured now."""
    pretrains, networks = not config.pretrained, num_networks(config)
    stages = run_passes(config, sizes, pretrains=pretrains, networks=networks)
    flops = sum(stages.values()) * forward_flops(config)
    return _FIXED_SECONDS + _OVER_FORWARD * flops / measured_speed(config)


def settled_before(workdir: Path) -> dict[str, Any]:
    """The settings of the run in a workdir that has begun; nothing else."""
    if kind_of(workdir) != "run" or not has_begun(workdir):
        return {}
    try:
        content = read_sealed(workdir / CONFIG_FILE)
    except (DamagedFileError, OSError):
        return {}  # whether it is that run's is found later
    keys = (key.split(".") for key in _OPEN)
    return {f"{part}.{name}": content[part][name] for part, name in keys}
