"""The stages of training: what each starts from and which step it takes."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from cgat_jax import progress, sharding
from cgat_jax.config import Config, Training
from cgat_jax.data.dataset import Dataset
from cgat_jax.defenses import (
    make_classification_step,
    make_defense_step,
    make_standard_step,
    start_defense,
)
from cgat_jax.processes import from_first
from cgat_jax.rng import device_stream
from cgat_jax.training.finished import load_finished
from cgat_jax.training.initial_state import (
    build_loss,
    build_network,
    empty_bank,
    first_weights,
    fresh_weights,
    has_backbone,
    initial_bank,
    new_state,
    save_backbone,
)
from cgat_jax.training.interrupts import StopSignal
from cgat_jax.training.loop import Stage, epoch_steps, run_stage
from cgat_jax.training.network_files import (
    given_defense,
    given_digest,
    network_keeper,
    network_path,
    state_from_file,
)
from cgat_jax.training.optimizer import make_optimizer, make_schedule
from cgat_jax.types import HashLoss, PyTree, StepFn, TrainState
from cgat_jax.workdir import GIVEN_FILE, remember_network


def train(
    config: Config,
    dataset: Dataset,
    mesh: Mesh,
    workdir: Path,
    stop: StopSignal,
    made_with: dict[str, Any] | None = None,
) -> dict[str, tuple[PyTree, PyTree]]:
    """Runs the stages that are not done yet; each leaves its network as a file.

    ``made_with``, versions, device and commit, goes into the cards of these files.

    Returns:
        (params, stats) of the network by defense: ``none``, unless it is another run's,
        and the configured one, unless its stage has no epochs.

    Raises:
        ValueError: the data or another run's network cannot be used.
    """
    run = functools.partial(
        _run_in_sight,
        dataset=dataset,
        config=config,
        mesh=mesh,
        workdir=workdir,
        stop=stop,
    )
    keep = network_keeper(config, dataset, workdir, made_with or {})
    networks = {}
    if config.pretrained:
        state = _given(config, dataset, mesh)
        digest = given_digest(Path(config.pretrained), _network(state))
        is_file = network_path(Path(config.pretrained)) is not None
        for key in ("pretrained", GIVEN_FILE)[: 1 + is_file]:
            from_first(functools.partial(remember_network, workdir, key, digest))
    else:
        if not config.model.weights and config.backbone.epochs:
            _learn_backbone(config, dataset, workdir, run)
        state = run(_pretrain(config, dataset, workdir))
        networks["none"] = _network(state)
        keep("pretrain", networks["none"], state)
    if config.defense.epochs:
        state = run(_defend(config, dataset, mesh, state))
        networks[config.defense.name] = _defended(config, state)
        keep("defend", networks[config.defense.name], state)
    return networks


def _run_in_sight(stage: Stage, **where) -> TrainState:
    with progress.stage(stage.name):
        return run_stage(stage, **where)


def _learn_backbone(config: Config, dataset: Dataset, workdir: Path, run) -> None:
    """Leaves the backbone's file, unless it is there and whole."""
    if not from_first(lambda: has_backbone(config, workdir)):
        network = jax.device_get(_network(run(_backbone(config, dataset))))
        from_first(lambda: save_backbone(workdir, network))


def finished(
    config: Config, dataset: Dataset, mesh: Mesh, workdir: Path
) -> dict[str, tuple[PyTree, PyTree]]:
    """The networks of a run that has finished training, as ``train`` returns them.

    Raises:
        ValueError: it has not.
    """
    networks = {}
    if config.pretrained:
        state = _given(config, dataset, mesh)
    else:
        state = _trained(config, dataset, mesh, workdir)
        networks["none"] = _network(state)
    if config.defense.epochs:
        stage = _defend(config, dataset, mesh, state)
        state = load_finished(stage, dataset, mesh, workdir)
        networks[config.defense.name] = _defended(config, state)
    return networks


def pretrained_networks(
    config: Config, dataset: Dataset, mesh: Mesh
) -> dict[str, tuple[PyTree, PyTree]]:
    """The network that a run with ``pretrained`` starts from, by its defense.

    Raises:
        InputError: it is not finished, damaged, or another one's.
    """
    state = _given(config, dataset, mesh)
    return {given_defense(Path(config.pretrained)): _network(state)}


def _given(config: Config, dataset: Dataset, mesh: Mesh) -> TrainState:
    """What ``pretrained`` names, as the last state of pretraining."""
    source = Path(config.pretrained)
    if (file := network_path(source)) is not None:
        return state_from_file(file, config, dataset)
    return _trained(config, dataset, mesh, source)


def _trained(config: Config, dataset: Dataset, mesh: Mesh, workdir: Path) -> TrainState:
    if not config.pretrain.epochs:  # which leaves no checkpoint
        state = _pretrain(config, dataset, workdir).initial_state()
        return sharding.put_whole(mesh, state)
    return load_finished(_pretrain(config, dataset), dataset, mesh, workdir)


def _network(state: TrainState) -> tuple[PyTree, PyTree]:
    return state.params["model"], state.stats


def _defended(config: Config, state: TrainState) -> tuple[PyTree, PyTree]:
    return state.ema if config.defense.ema else _network(state)


def _stage(
    name: str,
    settings: Training,
    dataset: Dataset,
    make_step: Callable[[optax.GradientTransformation], StepFn],
    initial_state: Callable[[optax.GradientTransformation], TrainState],
    loss: HashLoss | None,
    warm_start: Callable[..., TrainState] = lambda state, check_stop: state,
) -> Stage:
    schedule = make_schedule(settings, epoch_steps(dataset, settings))
    tx = make_optimizer(settings, schedule)
    return Stage(
        name=name,
        settings=settings,
        step=make_step(tx),
        loss=loss,
        schedule=schedule,
        initial_state=lambda: initial_state(tx),
        warm_start=warm_start,
    )


def _backbone(config: Config, dataset: Dataset) -> Stage:
    classes = dataset.labels.shape[1]
    model = build_network(config, classes)

    def initial_state(tx):
        net, stats = fresh_weights(model, config)
        params = {"model": net, "loss": {}}
        return new_state(params, {}, stats, empty_bank(dataset, classes), tx)

    def make_step(tx):
        return make_classification_step(model, tx)

    settings = config.backbone
    return _stage("backbone", settings, dataset, make_step, initial_state, None)


def _pretrain(config: Config, dataset: Dataset, workdir: Path | None = None) -> Stage:
    model, loss = build_network(config, config.model.bits), build_loss(config)

    def initial_state(tx):
        bank = empty_bank(dataset, config.model.bits)
        loss_params, constants = loss.init(device_stream(config.seed, "loss"), bank)
        net, stats = first_weights(model, config, workdir)
        params = {"model": net, "loss": loss_params}
        return new_state(params, constants, stats, bank, tx)

    def make_step(tx):
        return make_standard_step(model, loss, tx)

    settings = config.pretrain
    return _stage("pretrain", settings, dataset, make_step, initial_state, loss)


def _defend(config: Config, dataset: Dataset, mesh: Mesh, before: TrainState) -> Stage:
    model, loss = build_network(config, config.model.bits), build_loss(config)
    settings = config.defense

    def start(state):
        labels = dataset.labels[dataset.split.database]
        return start_defense(
            device_stream(config.seed, "defense"), state, settings, labels
        )

    def unfilled(tx):
        bank, constants = empty_bank(dataset, config.model.bits), before.constants
        if config.loss.redraw:
            key = device_stream(config.seed, "loss/redrawn")
            _, constants = loss.init(key, bank)
        return new_state(before.params, constants, before.stats, bank, tx)

    def warm_start(state, check_stop):
        bank = initial_bank(config, dataset, mesh, model, state, check_stop)
        return start(state._replace(bank=bank))

    per_epoch = epoch_steps(dataset, settings)
    return _stage(
        "defend",
        settings,
        dataset,
        lambda tx: make_defense_step(model, loss, tx, settings, per_epoch),
        lambda tx: start(unfilled(tx)),
        loss,
        warm_start,
    )
