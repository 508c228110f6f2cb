"""One data-parallel mesh over all devices; a single device is a mesh of one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cgat_jax.errors import InputError
from cgat_jax.types import Batch, Images


def make_mesh() -> Mesh:
    """All devices of all processes along one axis, ``data``."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def process_rows(batch_size: int) -> slice:
    """The rows of a global batch that this process feeds.

    Raises:
        InputError: the batch size is not a multiple of the number of devices.
    """
    devices, processes = jax.device_count(), jax.process_count()
    if batch_size % devices:
        raise InputError(
            f"batch_size {batch_size} is not a multiple of the {devices} devices"
        )
    size = batch_size // processes
    return slice(jax.process_index() * size, (jax.process_index() + 1) * size)


def put_rows(mesh: Mesh, rows: Any) -> Any:
    """Arrays of this process's rows as global arrays, split by row."""
    sharding = by_row(mesh)

    def put(array):
        return jax.make_array_from_process_local_data(sharding, np.asarray(array))

    return jax.tree.map(put, rows)


def to_images(pixels: Any) -> Images:
    """Pixels 0..255 as float32 in [0, 1]."""
    return pixels.astype(jnp.float32) / 255


def as_float(batch: Batch) -> Batch:
    """A loader's batch with its images as the networks see them."""
    return batch._replace(images=to_images(batch.images))
