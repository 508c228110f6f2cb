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


def shared_rows(count: int) -> int:
    """The least number of rows, from ``count`` on, that the devices can share."""
    devices = jax.device_count()
    return -(-count // devices) * devices


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


def put_whole(mesh: Mesh, tree: Any, sharding: NamedSharding | None = None) -> Any:
    """Arrays that every process holds whole, as global arrays.

    Nothing is sent: that the processes' arrays are equal is the caller's word.

    Args:
        mesh: the devices.
        tree: of arrays.
        sharding: by default the whole array on every device.
    """
    sharding = sharding or replicated(mesh)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def put(array):
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return jax.device_put(array, sharding)
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

    return jax.tree.map(put, tree)


def whole_array(mesh: Mesh, array: jax.Array) -> np.ndarray:
    """All rows of a global array, also those on devices of other processes."""
    if not array.is_fully_addressable:
        array = jax.jit(lambda x: x, out_shardings=replicated(mesh))(array)
    return np.asarray(array)


def own_rows(array: Any) -> np.ndarray:
    """The rows of a global array that are on devices of this process."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array)
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def to_images(pixels: Any) -> Images:
    """Pixels 0..255 as float32 in [0, 1]."""
    return jnp.asarray(pixels).astype(jnp.float32) / 255


def as_float(batch: Batch) -> Batch:
    """A loader's batch with its images as the networks see them."""
    return batch._replace(images=to_images(batch.images))
