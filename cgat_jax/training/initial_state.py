"""What stages start from: the network, its weights, and the first bank."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from cgat_jax import sharding
from cgat_jax.config import Config
from cgat_jax.config.settings import Change, is_moved_file
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import DamagedFileError, InputError, lookup
from cgat_jax.files.io import file_digest, set_aside
from cgat_jax.losses import LOSSES, make_loss
from cgat_jax.models import make_model
from cgat_jax.models.torch_import.weights import SOURCES
from cgat_jax.models.weights import (
    PACKED,
    load_weights,
    packed_weights,
    read_metadata,
    save_weights,
)
from cgat_jax.rng import device_stream
from cgat_jax.training.loop import batches_of, epoch_steps
from cgat_jax.types import Bank, HashLoss, HashModel, PyTree, TrainState
from cgat_jax.workdir import remember_network, remembered

BACKBONE_FILE = "backbone.safetensors"


def build_loss(config: Config) -> HashLoss:
    """The loss that the settings name.

    Raises:
        InputError: an unknown name; lists the known ones.
    """
    name, options = config.loss.name, vars(config.loss)
    taken = inspect.signature(lookup("loss", name, LOSSES)).parameters
    # What it does not take is refused where a run begins; runs of before may have it.
    return make_loss(name, **{key: options[key] for key in taken if key in options})


def build_network(config: Config, outputs: int) -> HashModel:
    """The configured network with ``outputs`` units in its head.

    Raises:
        ValueError: an unknown network or a setting out of range.
    """
    settings = config.model
    return make_model(
        settings.name, outputs=outputs, dtype=settings.dtype, dropout=settings.dropout
    )


def fresh_weights(model: HashModel, config: Config) -> tuple[PyTree, PyTree]:
    """The network's weights as they are drawn, and its first statistics."""
    size = config.data.crop_size
    key = device_stream(config.seed, "weights")
    return jax.jit(lambda: model.init(key, jnp.zeros((1, size, size, 3))))()


def check_weights(model: HashModel, config: Config) -> None:
    """Reads the configured weights, if there are any before the first stage.

    Raises:
        InputError, FileNotFoundError: no start was chosen, or the file is not for this
            network.
    """
    weights = config.model.weights
    if not weights and not config.backbone.epochs:
        raise InputError(f"model.weights is empty: {_advice(config.model.name)}")
    if (path := weights_file(config)) is not None:
        network = jax.eval_shape(functools.partial(fresh_weights, model, config))
        load_weights(path, *network)


def _advice(name: str) -> str:
    """How to come by weights of a network, in one line."""
    rest = "or let backbone.epochs learn the training labels first, or start 'random'"
    if name in PACKED:
        return f"take 'packed', give a safetensors file, {rest}"
    if name not in SOURCES:
        return f"give a safetensors file, {rest}"
    address, file = SOURCES[name], f"{name}.safetensors"
    return (
        f"get ImageNet's from {address}, convert them (python -m "
        f"experiments.convert_weights --torch={address.rsplit('/', 1)[-1]} "
        f"--out={file}) and set it to {file}; {rest}"
    )


def first_weights(
    model: HashModel, config: Config, workdir: Path | None
) -> tuple[PyTree, PyTree]:
    """The network that pretraining starts from; ``workdir`` may hold a backbone.

    As drawn where there is no workdir, for a checkpoint to replace.
    """
    network = fresh_weights(model, config)
    if workdir is None:
        return network
    if not config.model.weights:
        return load_weights(workdir / BACKBONE_FILE, *network)
    path = weights_file(config)
    return network if path is None else load_weights(path, *network)


def has_backbone(config: Config, workdir: Path) -> bool:
    """Whether the backbone's file is there and whole; any other is set aside."""
    path = workdir / BACKBONE_FILE
    if not path.is_file():
        return False
    try:
        first_weights(build_network(config, config.model.bits), config, workdir)
        digest = read_metadata(path).get("sha256")
        if remembered(workdir, "backbone") in (None, digest):
            return True
        set_aside(path, "it is the backbone of another run")
    except DamagedFileError as error:
        set_aside(path, error)
    return False


def save_backbone(workdir: Path, network: tuple[PyTree, PyTree]) -> None:
    """Leaves the backbone's file, and notes in the workdir that it is the run's."""
    path = workdir / BACKBONE_FILE
    save_weights(path, *network)
    remember_network(workdir, "backbone", read_metadata(path)["sha256"])


def has_weights_of(workdir: Path, change: Change) -> bool:
    """Whether a change names, at another place, what a run noted that it began with."""
    path = Path(str(change.new))
    if change.key != "model.weights" or not is_moved_file(change):
        return False
    return path.is_file() and remembered(workdir, "weights") == file_digest(path)


def weights_file(config: Config) -> Path | None:
    """The file of weights that the network starts from, if it starts from one."""
    name = config.model.weights
    if name in ("", "random"):
        return None
    return packed_weights(config.model.name) if name == "packed" else Path(name)


def new_state(
    params: dict[str, PyTree],
    constants: PyTree,
    stats: PyTree,
    bank: Bank,
    tx: optax.GradientTransformation,
) -> TrainState:
    """The state of a stage's step 0."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        stats=stats,
        constants=constants,
        bank=bank,
        opt_state=tx.init(params),
    )


def empty_bank(dataset: Dataset, bits: int) -> Bank:
    """The training images' labels, and codes of zeros."""
    labels = jnp.asarray(dataset.labels[dataset.split.train], jnp.float32)
    return Bank(jnp.zeros((len(labels), bits), labels.dtype), labels)


def initial_bank(
    config: Config,
    dataset: Dataset,
    mesh: Mesh,
    model: HashModel,
    state: TrainState,
    check_stop: Callable[[], None],
) -> Bank:
    """Signs of all training images' codes: one pass over an epoch of its own.

    As in the released code, images are as in training and, if crafting is ``train``,
    dropout is on and batches are normalized by themselves.
    """
    settings, live = config.defense, config.defense.crafting == "train"
    every = dataclasses.replace(settings, drop_last=False)
    key = device_stream(config.seed, "first bank")

    network = state.params["model"], state.stats
    whole, rows = sharding.replicated(mesh), sharding.by_row(mesh)

    def record(network, bank, batch, index):
        mode = {}
        if live:
            mode = {"key": jax.random.fold_in(key, index), "mask": batch.mask}
        images = sharding.to_images(batch.images)
        logits, _ = model.apply(*network, images, **mode)
        return bank.record(batch, jnp.sign(logits))

    record = jax.jit(
        record, in_shardings=(whole, whole, rows, whole), out_shardings=whole
    )

    per_epoch = epoch_steps(dataset, every)
    first = settings.epochs * per_epoch  # an epoch that training does not see
    steps = range(first, first + per_epoch)
    batches = batches_of(dataset, config, every, mesh, steps, stage="defend")
    bank = state.bank
    for index, batch in enumerate(batches):
        check_stop()
        bank = jax.block_until_ready(record(network, bank, batch, index))
    return bank
