"""Training of ProS-GAN against one network: resume, step, log, check, checkpoint."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from cgat_jax import sharding
from cgat_jax.attacks.prosgan import make_targets, train_target_network
from cgat_jax.attacks.prosgan_step import (
    GanSettings,
    GanState,
    Networks,
    first_state,
    learning_rate,
    make_gan_step,
)
from cgat_jax.errors import NonFiniteError, Stopped
from cgat_jax.files.metrics_log import MetricsLog
from cgat_jax.models.gan import make_discriminator, make_generator
from cgat_jax.models.prototype import make_prototype_net
from cgat_jax.training import checkpoint
from cgat_jax.types import Bank, Batch, Images, Logits, PyTree

Batches = Callable[[int, int], Iterator[Batch]]


class AttackedNetwork(NamedTuple):
    """The network to attack, frozen, and what its prototypes are made of.

    ``encode(network, images) -> logits`` evaluates it, ``network`` being its
    parameters; ``bank`` has the binary codes and the labels of the training images,
    ``label_sets`` are the unique label sets of the database, multi-hot [T, C].
    """

    encode: Callable[[PyTree, Images], Logits]
    network: PyTree
    bank: Bank
    label_sets: np.ndarray


class Trained(NamedTuple):
    """Parameters of the generator, for ``prosgan``, and for ``make_targets``."""

    generator: PyTree
    prototypes: PyTree


def train_prosgan(
    attacked: AttackedNetwork,
    batches: Batches,
    settings: GanSettings,
    key: jax.Array,
    folder: Path,
    *,
    mesh: Mesh,
    check_stop: Callable[[], None] = lambda: None,
) -> Trained:
    """Trains the prototype network, then the generator, or goes on where it stopped.

    A run that was stopped or killed and is called again ends as one that was not.

    Args:
        attacked: the network to attack.
        batches: ``batches(start_step, num_steps)`` yields the training batches of
            those steps, of uint8 images, split over the mesh.
        settings: the same at every call with this folder.
        key: of the weights and of the targets drawn.
        folder: of the checkpoints and of ``metrics.jsonl``; one for each network.
        mesh: the devices.
        check_stop: called at every step; may raise ``Stopped``, after which a
            checkpoint is written.

    Raises:
        NonFiniteError: a loss is not finite; nothing was saved since the last
            checkpoint.
        ValueError: the images are of a size that the generator does not take.

    References:
        Wang et al., Prototype-supervised Adversarial Network for Targeted Attack of
        Deep Hashing, CVPR 2021, and its released code: Adam (0.5, 0.999), targets
        drawn from all label sets, the discriminator at every third step.
    """
    prototype_key, init_key, step_key = jax.random.split(key, 3)
    prototypes = _prototypes(
        attacked, settings, prototype_key, folder, mesh, check_stop
    )
    networks = Networks(
        attacked.encode,
        make_generator(width=settings.width),
        make_discriminator(attacked.label_sets.shape[1], width=settings.width),
    )
    sets = make_targets(prototypes, attacked.label_sets)
    whole = sharding.replicated(mesh)
    constants = jax.device_put((step_key, attacked.network, sets), whole)
    step_fn = _compile(make_gan_step(networks, settings), constants, mesh)
    fresh = _fresh(init_key, networks, settings.image_size, sets)
    fresh = jax.device_put(fresh, whole)
    with _open(folder / "checkpoints") as manager:
        restored = checkpoint.restore_latest(manager, fresh)
        state = fresh if restored is None else restored
        loop = _Loop(settings, step_fn, manager, check_stop, folder)
        state = loop.run(state, batches)
    return Trained(state.generator, prototypes)


def _open(folder: Path):
    return contextlib.closing(checkpoint.open_checkpoints(folder))


def _fresh(key, networks: Networks, size: int, sets) -> GanState:
    images = jnp.zeros((1, size, size, 3))
    start = jax.jit(lambda key, i, f: first_state(key, networks, i, f))
    return start(key, images, sets.features[:1])


def _prototypes(attacked, settings, key, folder, mesh, check_stop) -> PyTree:
    """Trained once and kept; a stopped training starts again from its beginning."""
    whole = sharding.replicated(mesh)
    steps, bank = settings.prototype_steps, attacked.bank
    with _open(folder / "prototypes") as manager:
        network = make_prototype_net(bank.codes.shape[1], classifier=True)
        sets = jnp.asarray(attacked.label_sets[:1], jnp.float32)
        like = jax.device_put(network.init(key, sets), whole)
        params = checkpoint.restore_latest(manager, like)
        if params is None:
            params = train_target_network(
                key, bank, attacked.label_sets, steps=steps, check_stop=check_stop
            )
            params = jax.device_put(params, whole)
            checkpoint.save(manager, steps, params)
    return params


def _compile(step: Callable, constants, mesh: Mesh) -> Callable:
    """The step as one program of (state, batch), the state being donated."""
    whole, rows = sharding.replicated(mesh), sharding.by_row(mesh)

    def whole_step(state, batch, constants):
        return step(state, sharding.as_float(batch), *constants)

    program = jax.jit(
        whole_step,
        donate_argnums=0,
        in_shardings=(whole, rows, whole),
        out_shardings=whole,
    )
    return lambda state, batch: program(state, batch, constants)


class _Loop:
    """The running of the training: its pending metrics and its clock."""

    def __init__(self, settings, step_fn, manager, check_stop, folder):
        self.settings, self.step_fn, self.manager = settings, step_fn, manager
        self.check_stop, self.path = check_stop, folder / "metrics.jsonl"
        self.pending: list[tuple[int, dict]] = []

    def run(self, state: GanState, batches: Batches) -> GanState:
        settings, start = self.settings, int(state.step)
        total = settings.epochs * settings.steps_per_epoch
        log, saved = MetricsLog(self.path, start), time.monotonic()
        bar = tqdm(
            total=total, initial=start, desc="train prosgan", unit="step", disable=None
        )
        steps = range(start + 1, total + 1)
        with bar:
            for number, batch in zip(steps, batches(start, len(steps)), strict=True):
                state, metrics = self.step_fn(state, batch)
                self.pending.append((number, metrics))
                jax.block_until_ready(metrics)  # its steps are slow: none is queued
                stopped = self._asked()
                due = time.monotonic() - saved >= settings.checkpoint_seconds
                ends = due or stopped is not None or number == total
                if ends or number % settings.log_steps == 0:
                    self._flush(log, bar, total)
                if ends:
                    checkpoint.save(self.manager, number, state)
                    saved = time.monotonic()
                if stopped is not None:
                    raise stopped
        return state

    def _asked(self) -> Stopped | None:
        try:
            self.check_stop()
        except Stopped as stopped:
            return stopped
        return None

    def _flush(self, log: MetricsLog, bar: tqdm, total: int) -> None:
        """Checks every step since the last flush, and logs the due ones."""
        settings = self.settings
        fetched = jax.device_get([metrics for _, metrics in self.pending])
        for (step, _), metrics in zip(self.pending, fetched, strict=True):
            values = {name: float(value) for name, value in sorted(metrics.items())}
            bad = [name for name, value in values.items() if not np.isfinite(value)]
            if bad:
                raise NonFiniteError(
                    f"ProS-GAN, step {step}: not finite: {', '.join(bad)}"
                )
            if step % settings.log_steps == 0 or step == total:
                rate = float(learning_rate(step - 1, settings))
                entry = {"step": step, "epoch": step / settings.steps_per_epoch}
                log.append(entry | values | {"learning_rate": rate})
        bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        bar.update(self.pending[-1][0] - bar.n)
        self.pending.clear()
