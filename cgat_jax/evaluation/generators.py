"""ProS-GAN's generators: one trained for each attacked network, kept in the workdir."""

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cgat_jax import processes, progress
from cgat_jax.attacks.prosgan import make_targets
from cgat_jax.attacks.prosgan_step import BATCH_SIZE, GanSettings
from cgat_jax.config import Config, Evaluate, Training
from cgat_jax.data.dataset import Dataset
from cgat_jax.evaluation.passes import forward_flops
from cgat_jax.evaluation.references import prototype_steps
from cgat_jax.files.io import set_aside
from cgat_jax.files.kept import ORIGIN, belongs
from cgat_jax.models.gan import MIN_SIZE, MULTIPLE
from cgat_jax.rng import device_stream
from cgat_jax.training.loop import batches_of, epoch_steps, image_names
from cgat_jax.training.prosgan import AttackedNetwork, Trained, train_prosgan
from cgat_jax.types import Bank, HashModel, PyTree

EPOCHS = {"paper": 100, "fast": 8}
# Of an image in an epoch, at 224 pixels: 29.9 GMAC of the generator and 1.7 of the
# discriminator, which sees three images, some of them every third step.
_FLOPS = 196e9
_TRAINING = Training(batch_size=BATCH_SIZE, augment=False)  # as released


def generator_epochs(settings: Evaluate) -> int:
    """Epochs of a generator's training, of the settings or of their preset."""
    return settings.prosgan_epochs or EPOCHS[settings.preset]


def generator_passes(config: Config, train: int) -> float:
    """What the training of a generator costs, in forward passes of the network."""
    settings = config.evaluate
    size = (config.data.crop_size / 224) ** 2 * settings.prosgan_width**2
    flops = _FLOPS * size * train * generator_epochs(settings)
    return flops / forward_flops(config)


def generator_steps(config: Config, dataset: Dataset) -> int:
    """Training steps of a generator."""
    return generator_epochs(config.evaluate) * epoch_steps(dataset, _TRAINING)


def check_generators(config: Config) -> None:
    """Refuses image sizes that a generator does not take.

    Raises:
        ValueError: says which it takes.
    """
    side = config.data.crop_size
    if side < MIN_SIZE or side % MULTIPLE:
        raise ValueError(
            f"prosgan takes images of {MIN_SIZE} pixels or more, a multiple of "
            f"{MULTIPLE}: data.crop_size is {side}"
        )


def _claim(folder: Path, origin: dict[str, str]) -> None:
    """Finds that a generator in a folder is of this origin; else it is set aside."""
    if folder.is_dir() and not (folder / ORIGIN).is_file():
        set_aside(folder, "whose generator it is is not noted")
    belongs(folder, origin)


class Generators:
    """Trains generators, or reads those that have been trained."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        mesh: Mesh,
        workdir: Path,
        check_stop: Callable[[], None],
        saving: Callable[[], AbstractContextManager] = contextlib.nullcontext,
    ):
        """Trains nothing yet; ``check_stop`` is called at every step, in ``saving``."""
        self.saving = saving
        self.config, self.dataset, self.mesh = config, dataset, mesh
        self.workdir, self.check_stop = workdir, check_stop
        self._known: dict[str, Trained] = {}

    def of(
        self,
        name: str,
        model: HashModel,
        network: tuple[PyTree, PyTree],
        bank: Bank,
        digest: str,
    ) -> Trained:
        """The generator that attacks a network, trained once under its name.

        Raises:
            InputError: under that name is one of another network, by its ``digest``,
                or of other data.
        """
        if name not in self._known:
            folder = self.workdir / "prosgan" / name
            data = self.dataset.digest.whole
            origin = {"network": digest, "data": data}
            processes.from_first(lambda: _claim(folder, origin))
            labels = self.dataset.labels[self.dataset.split.database]
            attacked = AttackedNetwork(
                lambda network, images: model.apply(*network, images)[0],
                network,
                bank,
                np.unique(labels, axis=0),
                functools.partial(image_names, self.dataset),
            )
            settings = self._settings()
            cost = generator_passes(self.config, len(self.dataset.split.train))
            with self.saving(), progress.part(cost=cost):
                self._known[name] = train_prosgan(
                    attacked,
                    lambda start, count: batches_of(
                        *(self.dataset, self.config, _TRAINING, self.mesh),
                        range(start, start + count),
                        stage="prosgan",
                    ),
                    settings,
                    device_stream(self.config.seed, "prosgan/training"),
                    folder,
                    mesh=self.mesh,
                    check_stop=self.check_stop,
                )
        return self._known[name]

    def rows(self, trained: Trained, targets: np.ndarray) -> np.ndarray:
        """Prototype code and features of each target label set, side by side."""
        made = make_targets(trained.prototypes, targets)
        return np.asarray(jnp.concatenate([made.codes, made.features], axis=1))

    def _settings(self) -> GanSettings:
        given = self.config.evaluate
        return GanSettings(
            image_size=self.config.data.crop_size,
            steps_per_epoch=epoch_steps(self.dataset, _TRAINING),
            epochs=generator_epochs(given),
            reconstruction=given.prosgan_reconstruction,
            learning_rate=given.prosgan_rate,
            width=given.prosgan_width,
            prototype_steps=prototype_steps(given),
            log_steps=self.config.log_steps,
            checkpoint_seconds=self.config.checkpoint_seconds,
        )
