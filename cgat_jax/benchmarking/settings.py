"""What a benchmark of a given network can be told, as a run's configuration."""

import dataclasses
from typing import Any

from cgat_jax.config import Config, Data, Defense, Evaluate, Loss, Model, Training
from cgat_jax.config.schema import setting
from cgat_jax.config.settings import validate
from cgat_jax.data import check_sizes
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError, typed
from cgat_jax.evaluation import other_runs, preflight
from cgat_jax.evaluation.data_checks import check_other_runs
from cgat_jax.evaluation.given_network import UNKNOWN, GivenNetwork, bits_of
from cgat_jax.evaluation.references import attacked_rows, check_targets, needs_targets

_CROP = 224  # pixels, of images in files


@dataclasses.dataclass(kw_only=True)
class BenchmarkSettings(Evaluate):
    """All settings of an evaluation, see ``Evaluate``, and what it stands on.

    ``crop_size`` is the side in pixels of the centered square that the network sees: 0
    takes all of images in arrays, what a trained network says, or else 224. ``seed`` is
    the root of all randomness, ``threads`` read images and rank.

    >>> from cgat_jax import BenchmarkSettings
    >>> BenchmarkSettings(preset="fast").attacks
    'noise,cgat,worst_case'
    """

    attacks: str = setting("noise,cgat,worst_case", "comma separated, see Evaluate")
    crop_size: int = setting(0, "side of what the network sees, pixels")
    seed: int = setting(0, "root of all randomness", high=2**32 - 1)
    threads: int = setting(2, "threads that read images and rank", low=1)


def changed(
    settings: BenchmarkSettings, epsilon: Any, attacks: Any
) -> BenchmarkSettings:
    """The settings with another budget or other attacks, where they are given.

    Raises:
        InputError: one is of another type.
    """
    given = {"epsilon": epsilon, "attacks": attacks}
    given = {key: value for key, value in given.items() if value is not None}
    values, usual = vars(settings) | given, vars(BenchmarkSettings())
    return BenchmarkSettings(**{k: typed(k, values[k], usual[k]) for k in usual})


def crop_of(
    settings: BenchmarkSettings, given: GivenNetwork, dataset: Dataset, *, whole: bool
) -> int:
    """Side of the square that the network sees, in pixels.

    Args:
        settings: of the benchmark.
        given: the network.
        dataset: the images.
        whole: they are of one size and seen whole, unless the settings say otherwise.

    Raises:
        InputError: the network takes another size.
    """
    own = given.crop_size
    if settings.crop_size:
        side = settings.crop_size
    elif whole:
        side = len(dataset.read(int(dataset.split.query[0])))
    else:
        return own or _CROP
    if own and own != side:
        resized = given.image_size not in (None, side)
        first = f"resize them to {given.image_size} and " if resized else ""
        raise InputError(
            f"this network sees images of {own} pixels, not of {side}: give it such"
            + (f", or {first}set crop_size={own}" if side > own else "")
        )
    return side


def check_view(
    given: GivenNetwork, dataset: Dataset, side: int, *, whole: bool
) -> None:
    """Finds that a crop of images is the view that a trained network has of them.

    Args:
        given: the network.
        dataset: the images.
        side: that it sees.
        whole: images of that side are crops already.

    Raises:
        InputError: they have another short side than it resizes images to.
    """
    if not given.image_size or dataset.sizes is None:
        return
    shorts = dataset.sizes().min(axis=1)
    low, high = int(shorts.min()), int(shorts.max())
    if whole and low == high == side:
        return
    if high > given.image_size or (given.enlarge and low < given.image_size):
        stored = f"{low}" if low == high else f"{low} to {high}"
        raise InputError(
            f"this network sees the center of images whose short side is "
            f"{given.image_size} pixels, and that of these is {stored}: resize them "
            f"to it, a data set with data.image_size={given.image_size}"
        )


def config_of(
    settings: BenchmarkSettings, given: GivenNetwork, dataset: Dataset, side: int
) -> Config:
    """The configuration of a run that measures a given network and trains nothing.

    Raises:
        InputError: a setting is out of range, or the network gives no logits.
    """
    names = [field.name for field in dataclasses.fields(Evaluate)]
    split = dataset.split
    config = Config(
        data=Data(
            name=dataset.name,
            image_size=_short_side(dataset, side),
            crop_size=side,
            num_queries=len(split.query),
            num_train=len(split.train),
            num_database=len(split.database),
            threads=settings.threads,
        ),
        model=Model(name=given.backbone, weights=UNKNOWN, dtype=given.dtype),
        loss=Loss(name=given.loss),
        backbone=Training(epochs=0),
        pretrain=Training(epochs=0),
        defense=Defense(epochs=0, name=given.defense),
        evaluate=Evaluate(**{name: getattr(settings, name) for name in names}),
        seed=settings.seed,
    )
    validate(config)
    config.model.bits = bits_of(given, side)
    return config


def _short_side(dataset: Dataset, side: int) -> int:
    """The smallest short side of the images, where it is known; ``side`` at least."""
    return side if dataset.sizes is None else max(side, int(dataset.sizes().min()))


def check(config: Config, dataset: Dataset) -> None:
    """Finds what cannot work before anything is measured.

    Raises:
        ValueError: images are too small, an attack or a setting cannot be used with
            these data; what to do about it.
    """
    if dataset.digest is None:
        raise InputError(
            "data: a data set without a digest; load it with load_dataset, or give "
            "ArrayData"
        )
    preflight.check_attacks(config)
    check_sizes(dataset, config.data.crop_size)
    attacked_rows(config, dataset)
    for name, folder in other_runs.source_workdirs(config).items():
        side = other_runs.read_config(folder).data.crop_size
        if side != config.data.crop_size:
            raise InputError(
                f"sources: {name} sees images of {side} pixels, not of "
                f"{config.data.crop_size}"
            )
    check_other_runs(config, dataset)
    if needs_targets(config):
        check_targets(config, dataset)
