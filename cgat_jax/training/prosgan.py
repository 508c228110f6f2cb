"""Training of ProS-GAN against one network: its prototypes, then its generator."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cgat_jax import processes, sharding
from cgat_jax.attacks.prosgan import make_targets, train_target_network
from cgat_jax.attacks.prosgan_step import (
    GanSettings,
    GanState,
    Networks,
    first_state,
    learning_rate,
    make_gan_step,
)
from cgat_jax.errors import Stopped
from cgat_jax.models.gan import make_discriminator, make_generator
from cgat_jax.models.prototype import make_prototype_net
from cgat_jax.training import checkpoint
from cgat_jax.training.run_loop import Course, run_loop
from cgat_jax.types import Bank, Batch, Images, Logits, PyTree

Batches = Callable[[int, int], Iterator[Batch]]


class AttackedNetwork(NamedTuple):
    """The network to attack, frozen, and what its prototypes are made of.

    ``encode(network, images) -> logits`` evaluates it, ``network`` being its
    parameters; ``bank`` has the binary codes and the labels of the training images,
    ``label_sets`` are the unique label sets of the database, multi-hot [T, C], and
    ``image_names`` what training images are called in errors.
    """

    encode: Callable[[PyTree, Images], Logits]
    network: PyTree
    bank: Bank
    label_sets: np.ndarray
    image_names: Callable[[np.ndarray], list[str]] = lambda rows: [str(r) for r in rows]


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
    constants = step_key, *sharding.put_whole(mesh, (attacked.network, sets))
    step_fn = _compile(make_gan_step(networks, settings), constants, mesh)
    fresh = _fresh(init_key, networks, settings.image_size, sets)
    fresh = sharding.put_whole(mesh, fresh)
    with _open(folder / "checkpoints") as manager:
        restored = checkpoint.restore_latest(manager, fresh)
        state = fresh if restored is None else restored
        course, start = _course(attacked, settings, folder, check_stop), int(state.step)
        if start < course.total:
            left = batches(start, course.total - start)
            poll = processes.Poll(mesh)
            state = run_loop(course, step_fn, state, left, manager, poll)
    return Trained(state.generator, prototypes)


def _course(attacked, settings: GanSettings, folder: Path, check_stop) -> Course:
    def asked() -> int:
        try:
            check_stop()
        except Stopped as stopped:
            return stopped.code - 128
        return 0

    return Course(
        name="train prosgan",
        total=settings.epochs * settings.steps_per_epoch,
        per_epoch=settings.steps_per_epoch,
        log_steps=settings.log_steps,
        checkpoint_seconds=settings.checkpoint_seconds,
        schedule=functools.partial(learning_rate, settings=settings),
        path=folder / "metrics.jsonl",
        image_names=attacked.image_names,
        asked=asked,
    )


def _open(folder: Path):
    return contextlib.closing(checkpoint.open_checkpoints(folder))


def _fresh(key, networks: Networks, size: int, sets) -> GanState:
    images = jnp.zeros((1, size, size, 3))
    start = jax.jit(lambda key, i, f: first_state(key, networks, i, f))
    return start(key, images, sets.features[:1])


def _prototypes(attacked, settings, key, folder, mesh, check_stop) -> PyTree:
    """Trained once and kept; a stopped training starts again from its beginning."""
    steps, bank = settings.prototype_steps, attacked.bank
    with _open(folder / "prototypes") as manager:
        network = make_prototype_net(bank.codes.shape[1], classifier=True)
        sets = jnp.asarray(attacked.label_sets[:1], jnp.float32)
        like = sharding.put_whole(mesh, network.init(key, sets))
        params = checkpoint.restore_latest(manager, like)
        if params is None:
            made = processes.tree_from_first(
                lambda: train_target_network(
                    key, bank, attacked.label_sets, steps=steps, check_stop=check_stop
                ),
                like,
            )
            params = sharding.put_whole(mesh, made)
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
