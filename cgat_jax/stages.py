"""The stages of training: what each starts from and which step it takes."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from cgat_jax import devices
from cgat_jax.config import Config, Training
from cgat_jax.data.dataset import Dataset
from cgat_jax.defenses import (
    make_classification_step,
    make_defense_step,
    make_standard_step,
)
from cgat_jax.losses import make_loss
from cgat_jax.models import make_model
from cgat_jax.models.weights import load_weights, packed_weights, save_weights
from cgat_jax.optimizer import make_optimizer, make_schedule
from cgat_jax.training import Stage, StopSignal, batches_of, epoch_steps, run_stage
from cgat_jax.types import Bank, HashLoss, HashModel, PyTree, StepFn, TrainState

BACKBONE_FILE = "backbone.safetensors"


def build_network(config: Config, outputs: int) -> HashModel:
    """The configured network with ``outputs`` units in its head.

    Raises:
        ValueError: an unknown network or a setting out of range.
    """
    settings = config.model
    return make_model(
        settings.name, outputs=outputs, dtype=settings.dtype, dropout=settings.dropout
    )


def check(config: Config) -> None:
    """Builds every part that the settings name, so that a wrong one fails at once.

    Raises:
        ValueError, FileNotFoundError: what is wrong, and what to do.
    """
    loss, model = make_loss(config.loss), build_network(config, config.model.bits)
    for settings in (config.backbone, config.pretrain, config.defense):
        schedule = make_schedule(settings, steps_per_epoch=1)
        devices.process_rows(settings.batch_size)
    devices.process_rows(config.evaluate.batch_size)
    tx = make_optimizer(config.defense, schedule)
    make_defense_step(model, loss, tx, config.defense)
    weights = config.model.weights
    if not weights and not config.backbone.epochs:
        raise ValueError(
            "model.weights is empty and backbone.epochs is 0: give a safetensors file, "
            "'packed' (small), or backbone.epochs to make them; 'random' starts without"
        )
    if weights not in ("", "random"):
        params = jax.eval_shape(lambda: _fresh_parameters(model, config))
        load_weights(_weights_file(config), params)


def train(
    config: Config, dataset: Dataset, mesh: Mesh, workdir: Path, stop: StopSignal
) -> dict[str, tuple[PyTree, PyTree]]:
    """Runs the stages that are not done yet.

    Returns:
        (params, stats) of the network by defense: ``none``, and the configured one
        unless its stage has no epochs.
    """
    run = functools.partial(
        run_stage,
        dataset=dataset,
        config=config,
        mesh=mesh,
        workdir=workdir,
        stop=stop,
    )
    if not config.model.weights and config.backbone.epochs:
        if not (workdir / BACKBONE_FILE).is_file():
            state = run(_backbone(config, dataset))
            save_weights(workdir / BACKBONE_FILE, _host(state.params["model"]))
    state = run(_pretrain(config, dataset, workdir))
    networks = {"none": (state.params["model"], state.stats)}
    if config.defense.epochs:
        state = run(_defend(config, dataset, mesh, state))
        averaged = state.ema if jax.tree.leaves(state.ema) else state.params["model"]
        networks[config.defense.name] = averaged, state.stats
    return networks


def _host(tree: PyTree) -> PyTree:
    return jax.tree.map(jax.device_get, tree)


def _fresh_parameters(model: HashModel, config: Config) -> PyTree:
    size = config.data.crop_size
    key = jax.random.fold_in(jax.random.key(config.seed), 1_000)
    return model.init(key, jnp.zeros((1, size, size, 3)))[0]


def _weights_file(config: Config) -> Path:
    name = config.model.weights
    return packed_weights(config.model.name) if name == "packed" else Path(name)


def _start(model: HashModel, config: Config, workdir: Path) -> PyTree:
    params = jax.jit(lambda: _fresh_parameters(model, config))()
    if not config.model.weights:
        return load_weights(workdir / BACKBONE_FILE, params)
    if config.model.weights == "random":
        return params
    return load_weights(_weights_file(config), params)


def _stage(
    name: str,
    number: int,
    config: Config,
    settings: Training,
    dataset: Dataset,
    make_step: Callable[[optax.GradientTransformation], StepFn],
    initial_state: Callable[[optax.GradientTransformation], TrainState],
    loss: HashLoss | None,
    fill: Callable[[TrainState], TrainState] = lambda state: state,
) -> Stage:
    schedule = make_schedule(settings, epoch_steps(dataset, settings))
    tx = make_optimizer(settings, schedule)
    return Stage(
        name=name,
        number=number,
        settings=settings,
        step=make_step(tx),
        loss=loss,
        schedule=schedule,
        initial_state=lambda: initial_state(tx),
        fill=fill,
    )


def _new_state(
    params: dict[str, PyTree],
    constants: PyTree,
    stats: PyTree,
    bank: Bank,
    tx: optax.GradientTransformation,
) -> TrainState:
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        stats=stats,
        constants=constants,
        bank=bank,
        opt_state=tx.init(params),
    )


def _empty_bank(dataset: Dataset, bits: int) -> Bank:
    labels = jnp.asarray(dataset.labels[dataset.split.train], jnp.float32)
    return Bank(jnp.zeros((len(labels), bits)), labels)


def _backbone(config: Config, dataset: Dataset) -> Stage:
    classes = dataset.labels.shape[1]
    model = build_network(config, classes)

    def initial_state(tx):
        params = {"model": _fresh_parameters(model, config), "loss": {}}
        return _new_state(params, {}, {}, _empty_bank(dataset, classes), tx)

    return _stage(
        "backbone",
        1,
        config,
        config.backbone,
        dataset,
        lambda tx: make_classification_step(model, tx),
        initial_state,
        None,
    )


def _pretrain(config: Config, dataset: Dataset, workdir: Path) -> Stage:
    model, loss = build_network(config, config.model.bits), make_loss(config.loss)

    def initial_state(tx):
        loss_params, constants = loss.init(jax.random.key(config.seed))
        params = {"model": _start(model, config, workdir), "loss": loss_params}
        bank = _empty_bank(dataset, config.model.bits)
        return _new_state(params, constants, {}, bank, tx)

    return _stage(
        "pretrain",
        2,
        config,
        config.pretrain,
        dataset,
        lambda tx: make_standard_step(model, loss, tx),
        initial_state,
        loss,
    )


def _defend(config: Config, dataset: Dataset, mesh: Mesh, before: TrainState) -> Stage:
    model, loss = build_network(config, config.model.bits), make_loss(config.loss)

    def initial_state(tx):
        bank = _empty_bank(dataset, config.model.bits)
        return _new_state(before.params, before.constants, before.stats, bank, tx)

    def fill(state):
        return state._replace(bank=_first_bank(config, dataset, mesh, model, state))

    return _stage(
        "defend",
        3,
        config,
        config.defense,
        dataset,
        lambda tx: make_defense_step(model, loss, tx, config.defense),
        initial_state,
        loss,
        fill,
    )


def _first_bank(
    config: Config, dataset: Dataset, mesh: Mesh, model: HashModel, state: TrainState
) -> Bank:
    """Signs of the training images' codes: one pass over an epoch of its own.

    As in the released code, images are augmented and, if crafting is ``train``,
    dropout is on.
    """
    settings, live = config.defense, config.defense.crafting == "train"
    key = jax.random.fold_in(jax.random.key(config.seed), 3_000)

    @jax.jit
    def record(bank, batch, index):
        mode = {"key": jax.random.fold_in(key, index)} if live else {}
        images = devices.to_images(batch.images)
        logits, _ = model.apply(state.params["model"], state.stats, images, **mode)
        return bank.record(batch, jnp.sign(logits))

    per_epoch = epoch_steps(dataset, settings)
    first = settings.epochs * per_epoch  # an epoch that training does not see
    batches = batches_of(dataset, config, settings, mesh, first, per_epoch)
    bank = state.bank
    for index, batch in enumerate(batches):
        bank = record(bank, batch, index)
    return bank
