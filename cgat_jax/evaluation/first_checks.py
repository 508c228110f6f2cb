"""What is checked before photos are looked at, when sizes and epochs are still open."""

import copy
from pathlib import Path

from cgat_jax.config import Config
from cgat_jax.config.loading import override
from cgat_jax.config.settings import settings
from cgat_jax.evaluation.chosen import (
    check_named,
    crop_of,
    open_settings,
    settled_before,
)
from cgat_jax.evaluation.other_runs import (
    check_sources,
    read_config,
    source_workdirs,
)
from cgat_jax.evaluation.preflight import check_given, check_settings
from cgat_jax.evaluation.time_budget import STAGES
from cgat_jax.files.ownership import check_folder
from cgat_jax.models.network_file import read_card
from cgat_jax.training.network_files import network_path
from cgat_jax.workdir import is_run


def check_others(config: Config, workdir: Path) -> None:
    """Checks what is not open before photos are looked at, an archive for hours.

    Raises:
        ValueError, OSError: what is wrong with other settings or the workdir.
    """
    check_folder(workdir, "run", is_own=is_run)
    if settled_before(workdir):  # which is read at once, and checked whole
        return
    check_settings(plausible(config), is_settled=False)
    if config.pretrained:
        check_given(_as_theirs(config, Path(config.pretrained)))
    for folder in source_workdirs(config).values():
        alone = _as_theirs(config, folder)
        alone.evaluate.sources = str(folder)
        check_sources(alone)


def _as_theirs(config: Config, place: Path) -> Config:
    """The settings with those of another run, or network's file, for the open ones."""
    filled, file = plausible(config), network_path(place)
    if file is None:
        known = {key: value for key, value, _ in settings(read_config(place))}
    else:
        card = read_card(file)
        known = {f"data.{key}": card[key] for key in ("image_size", "crop_size")}
        known["model.name"] = card["backbone"]
    keys = open_settings(config)
    override(filled, {key: known[key] for key in keys if key in known})
    return filled


def plausible(config: Config) -> Config:
    """The settings with values for the open ones that no check of them is against.

    With it, the others can be checked before photos are looked at; but not against
    those of other runs, which have values of their own.

    Raises:
        InputError: weights are given, but not of which network they are.
    """
    check_named(config.model)
    data, filled = config.data, copy.deepcopy(config)
    crop = data.crop_size or (crop_of(data.image_size) if data.image_size else 224)
    values = {"model.name": "small", "data.crop_size": crop}
    values["data.image_size"] = max(crop, data.image_size)
    for stage in (*STAGES, "evaluate"):
        values[f"{stage}.epochs"] = 1
        values[f"{stage}.batch_size"] = 32
    override(filled, {key: values[key] for key in open_settings(config)})
    return filled
