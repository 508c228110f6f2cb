"""The JAX side of ``benchmarks.step``: what ``experiments.main`` runs, as jobs."""

import functools
import os
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peers
from cgat_jax import sharding
from cgat_jax.attacks.pgd import Budget, away_from_references, sign_descent
from cgat_jax.centers import center_codes
from cgat_jax.config import Defense
from cgat_jax.defenses import make_defense_step, make_standard_step
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.losses import make_loss
from cgat_jax.models import make_model
from cgat_jax.training import loop
from cgat_jax.training.optimizer import make_optimizer, make_schedule
from cgat_jax.types import Bank, Batch, TrainState
from experiments.xla import prefer_fast_cpu_convolutions

_STEPS_PER_EPOCH = 100  # changes no time
_SGD = {
    "learning_rate": peers.LEARNING_RATE,
    "momentum": peers.MOMENTUM,
    "weight_decay": peers.WEIGHT_DECAY,
}


def describe() -> dict:
    """Device, versions and what XLA was told."""
    flags = os.environ.get("XLA_FLAGS", "")
    return provenance() | {"platform": jax.default_backend(), "flags": flags}


def prepare(network: str, batch: int, precision: str, attack_steps: int, loops: bool):
    """Compiles the jobs of a case.

    Args:
        network: a key of ``peers.SCALES``.
        batch: images a step.
        precision: ``float32``, ``tf32`` or ``bfloat16`` (of the network).
        attack_steps: iterations of the attack.
        loops: whether to compile the inner attack as a loop and without one, too.

    Returns:
        The jobs; and the seconds to compile the CgAT step, and FLOPs of a forward pass.
    """
    scale, data = peers.SCALES[network], peers.synthetic_inputs(network, batch)
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    model = make_model(network, outputs=scale.bits, dtype=dtype)
    images = sharding.to_images(jnp.asarray(data["pixels"]))
    params = jax.jit(lambda: model.init(jax.random.key(0), images)[0])()
    matmul = "highest" if precision == "float32" else "default"
    with jax.default_matmul_precision(matmul):
        steps, seconds = _step_jobs(model, params, data)
        attack = _attack_job(model, params, data, attack_steps)
        loop_jobs = _loop_jobs(model, params, data) if loops else {}
        square = jnp.asarray(data["square"], dtype)
        product = _compiled(jax.jit(jnp.matmul), square, square)
        forward = jax.jit(lambda params: model.apply(params, {}, images)[0])
        flops = forward.lower(params).cost_analysis()["flops"]
    jobs = {"matmul": lambda: product(square, square)} | steps
    jobs |= {f"attack, {attack_steps} iterations": attack} | loop_jobs
    return jobs, {"compile": seconds, "forward_flops": flops}


def _compiled(function, *args):
    return function.lower(*args).compile()


def _step_jobs(model, params, data):
    """Both steps on one state, each donating it, and the CgAT step's compile time."""
    defense = Defense(name="cgat", **peers.CRAFTING, **_SGD)
    tx = make_optimizer(defense, make_schedule(defense, _STEPS_PER_EPOCH))
    loss, mesh = make_loss("dpsh", eta=peers.ETA), sharding.make_mesh()
    make = {
        "CgAT step": make_defense_step(model, loss, tx, defense, _STEPS_PER_EPOCH),
        "pretraining step": make_standard_step(model, loss, tx),
    }
    rows = Batch(
        data["pixels"],
        data["labels"],
        data["indices"].astype(np.int32),
        np.ones(len(data["labels"]), bool),
    )
    whole, rows = sharding.replicated(mesh), sharding.put_rows(mesh, rows)
    key = jax.device_put(jax.random.key(1), whole)
    # DPSH trains nothing and keeps nothing.
    everything = {"model": jax.tree.map(jnp.copy, params), "loss": {}}
    bank = Bank(jnp.asarray(data["bank_codes"]), jnp.asarray(data["bank_labels"]))
    state = TrainState(
        jnp.zeros((), jnp.int32), everything, {}, {}, bank, tx.init(everything)
    )
    state = jax.device_put(state, whole)
    programs, seconds = {}, {}
    for name, step in make.items():
        start = time.perf_counter()
        programs[name] = _compiled(loop.compile_step(step, mesh), state, rows, key)
        seconds[name] = time.perf_counter() - start

    def run(name):
        nonlocal state
        state, metrics = programs[name](state, rows, key)
        return state, metrics

    jobs = {name: lambda name=name: run(name) for name in programs}
    return jobs, seconds["CgAT step"]


def _attack_job(model, params, data, steps):
    """The evaluation's attack on float images: no dropout, center codes given."""
    attack = away_from_references(Budget(steps=steps, **peers.ATTACK))
    images, references = _images_and_centers(data)
    keys = jax.random.split(jax.random.key(2), len(images))

    def move(params, images, references, keys):
        def encode(images, iteration):
            return model.apply(params, {}, images)[0]

        return attack(encode, images, references, keys)

    program = _compiled(jax.jit(move), params, images, references, keys)
    return lambda: program(params, images, references, keys)


def _loop_jobs(model, params, data):
    """The inner attack's iterations in their loop, and one after the other."""
    images, references = _images_and_centers(data)

    def descend(params, images, references, repeats, steps):
        def agreement(x, iteration):
            logits = model.apply(params, {}, x)[0]
            return (jnp.tanh(logits) * references).mean(axis=1)

        budget, x = Budget(**peers.CRAFTING | {"steps": steps}), images
        for _ in range(repeats):
            x = sign_descent(agreement, images, x, budget)
        return x

    jobs, args = {}, (params, images, references)
    steps = peers.CRAFTING["steps"]
    # XLA removes a loop that runs once.
    for name, counts in (("loop", (1, steps)), ("unrolled", (steps, 1))):
        function = jax.jit(
            functools.partial(descend, repeats=counts[0], steps=counts[1])
        )
        program = _compiled(function, *args)
        jobs[f"PGD {name}"] = functools.partial(program, *args)
    return jobs


def _images_and_centers(data):
    bank = Bank(jnp.asarray(data["bank_codes"]), jnp.asarray(data["bank_labels"]))
    centers = center_codes(jnp.asarray(data["labels"]), bank)
    return sharding.to_images(jnp.asarray(data["pixels"])), centers


if __name__ == "__main__":
    prefer_fast_cpu_convolutions()
    peers.serve(describe, prepare, jax.block_until_ready)
