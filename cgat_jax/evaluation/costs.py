"""What a run costs in floating point operations, and how fast a machine does them."""

import os
import time

import jax
import jax.numpy as jnp

from cgat_jax.config import Config
from cgat_jax.data.sources.known import KNOWN
from cgat_jax.errors import lookup
from cgat_jax.evaluation.passes import forward_flops
from cgat_jax.evaluation.workload import Sizes, run_passes
from cgat_jax.models import make_model

_STEP_FLOPS = 1e11  # of a timed step on a CPU, at most: about a second of two cores
_ROUNDS, _LEAST = 3, 1.5  # timed steps, and seconds of them, at least
PEAKS = {
    "a10": 62.5,
    "a100": 156.0,
    "a30": 82.0,
    "a40": 74.8,
    "h100": 494.7,
    "h200": 494.7,
    "l4": 60.0,
    "l40s": 183.0,
    "rtx3090": 35.6,
    "rtx4090": 82.6,
    "t4": 8.1,
    "v100": 15.7,
}
"""Published dense TFLOP/s of GPUs in what JAX makes of float32 products there: TF32,
and on T4 and V100, which have none, float32. H100 and H200 are the SXM modules."""
UTILIZATION = 0.3
"""Share of the peak that a training is assumed to reach on a GPU; not measured."""
_MOST_LOAD = 4.0  # beyond, it is no other work: fewer cores are granted than there are


def measured_speed(config: Config) -> float:
    """Operations a second of this machine: the best of a few gradients of a batch.

    The network and its images are the configuration's, so that what a small one leaves
    unused of a large machine counts. On a CPU it is that of all its cores if nothing
    else ran, by the CPU time; compiling takes a second or more.
    """
    model = make_model(config.model.name, outputs=config.model.bits)
    side, step = config.data.crop_size, 3 * forward_flops(config)
    batch = config.pretrain.batch_size
    if jax.default_backend() == "cpu":
        batch = max(1, min(batch, int(_STEP_FLOPS / step)))
    images = jnp.full((batch, side, side, 3), 0.5)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    params, stats = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), shapes)

    def loss(params, images):
        return jnp.square(model.apply(params, stats, images)[0]).mean()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    jax.block_until_ready(gradient(params, images))
    wall, busy = [], []
    while len(wall) < _ROUNDS or sum(wall) < _LEAST:
        start = time.perf_counter(), time.process_time()
        jax.block_until_ready(gradient(params, images))
        wall.append(time.perf_counter() - start[0])
        busy.append((time.process_time() - start[1]) / (os.cpu_count() or 1))
    if jax.default_backend() == "cpu":  # what other work takes is not the machine's
        return batch * step / max(min(busy), min(wall) / _MOST_LOAD)
    return batch * step / min(wall)


def gpu_speed(name: str) -> float:
    """Operations a second that a GPU is assumed to do: a share of its published peak.

    An estimate for networks that fill the GPU, as AlexNet and VGG at 224 pixels do.

    Raises:
        InputError: there is no such name; lists the known ones.
    """
    return lookup("GPU", name.lower(), PEAKS) * 1e12 * UTILIZATION


def run_flops(config: Config, *, pretrains: bool) -> float:
    """Operations of a run: training, encoding and attacks, of one network.

    With F for a forward pass of an image, a training step is 3F, one of a defense with
    T inner iterations (2T + 6)F, and an iteration of an attack 2F (Square: F). The
    training of ProS-GAN is counted by the size of its networks; losses and metrics are
    not. Where the configuration says all images, they are as many as the paper has.
    """
    data = config.data
    known = KNOWN.get(data.name)
    all_queries, all_database, all_train = known.paper if known else (0, 0, 0)
    sizes = Sizes(
        data.num_train or all_train,
        data.num_database or all_database,
        data.num_queries or all_queries,
    )
    stages = run_passes(config, sizes, pretrains=pretrains, networks=1)
    return sum(stages.values()) * forward_flops(config)
