import dataclasses
import itertools
import threading

import numpy as np
import pytest

from cgat_jax.data.cache import cached
from cgat_jax.data.dataset import DataError
from cgat_jax.data.images import random_crop
from cgat_jax.data.loader import (
    Batching,
    eval_batches,
    steps_per_epoch,
    train_batches,
)
from cgat_jax.rng import host_stream
from cgat_jax.types import Batch
from tests.data.sources import in_memory

OPTIONS = {
    "crop_size": 4,
    "batch_size": 4,
    "seed": 3,
    "stage": "defend",
    "augment": True,
    "drop_last": False,
    "threads": 2,
}


@pytest.fixture
def dataset(rng):
    """Eleven images of many sizes; the training images are in an order of their own."""
    sizes = itertools.product((6, 7, 8), (5, 9, 12, 6))
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    train = [5, 2, 9, 0, 11, 3, 7, 4, 10, 8]
    return in_memory(images, train=train)


def iterate(dataset, *, start_step=0, num_steps=9, rows=slice(None), **changes):
    steps = range(start_step, start_step + num_steps)
    return train_batches(dataset, Batching(**OPTIONS | changes), steps, rows=rows)


def batches(dataset, **changes):
    return list(iterate(dataset, **changes))


def assert_equal(first, second):
    assert len(first) == len(second) > 0
    for batch, other in zip(first, second, strict=True):
        for array, expected in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_shapes_and_types(dataset):
    batch = batches(dataset)[0]
    arrays = {name: (a.shape, str(a.dtype)) for name, a in batch._asdict().items()}
    assert arrays == {
        "images": ((4, 4, 4, 3), "uint8"),
        "labels": ((4, 12), "float32"),
        "indices": ((4,), "int32"),
        "mask": ((4,), "bool"),
    }


def test_each_epoch_is_the_permutation_of_its_number(dataset):
    """Ten images in batches of four: three steps an epoch, two rows of padding."""
    for step, batch in enumerate(batches(dataset)):
        epoch, place = divmod(step, 3)
        order = host_stream(3, "order/defend", epoch).permutation(10)
        expected = [*order, 10, 10][4 * place : 4 * place + 4]
        np.testing.assert_array_equal(batch.indices, expected)
        np.testing.assert_array_equal(batch.mask, np.array(expected) < 10)


def test_padding_is_zero(dataset):
    last = batches(dataset)[2]
    np.testing.assert_array_equal(last.mask, [True, True, False, False])
    np.testing.assert_array_equal(last.indices[2:], 10)
    assert not last.images[2:].any() and not last.labels[2:].any()
    assert last.images[:2].any() and (last.labels[:2].sum(axis=1) == 1).all()


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 32])
@pytest.mark.parametrize("drop_last", [False, True])
def test_every_row_comes_at_most_once_an_epoch(dataset, batch_size, drop_last):
    if drop_last and batch_size > 10:
        pytest.skip("no batch is full")
    steps = steps_per_epoch(10, batch_size, drop_last=drop_last)
    epoch = batches(
        dataset, batch_size=batch_size, drop_last=drop_last, num_steps=steps
    )
    rows = np.concatenate([batch.indices[batch.mask] for batch in epoch])
    assert len(set(rows)) == len(rows)
    assert len(rows) == (10 // batch_size * batch_size if drop_last else 10)
    if drop_last:
        assert all(batch.mask.all() for batch in epoch)


def test_labels_and_crops_belong_to_their_image(dataset):
    """Reference: the crop of row i in epoch e is made of its own three numbers."""
    for step, batch in enumerate(batches(dataset)):
        draws = host_stream(3, "crops/defend", step // 3).random((10, 3))
        for image, label, row in zip(*batch[:3], strict=True):
            if row < 10:
                position = dataset.split.train[row]
                original = dataset.read(position)
                crop = random_crop(original, 4, draws[row])
                np.testing.assert_array_equal(image, crop)
                np.testing.assert_array_equal(label, dataset.labels[position])


def test_crops_change_from_epoch_to_epoch_and_with_the_seed(dataset):
    def crops(seed, step):
        epoch = {}
        for batch in batches(dataset, seed=seed, start_step=step, num_steps=3):
            epoch |= dict(zip(batch.indices, batch.images.tolist(), strict=True))
        return epoch

    first, second, other = crops(3, 0), crops(3, 3), crops(4, 0)
    assert first.keys() == second.keys() == other.keys()
    assert sum(first[row] == second[row] for row in range(10)) < 5
    assert sum(first[row] == other[row] for row in range(10)) < 5


@pytest.mark.parametrize("start", range(9))
def test_a_later_start_gives_the_same_batches(dataset, start):
    whole = batches(dataset)
    assert_equal(batches(dataset, start_step=start, num_steps=9 - start), whole[start:])


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_threads_change_nothing(dataset, threads):
    assert_equal(batches(dataset, threads=threads), batches(dataset))


@pytest.mark.parametrize("limit", [1, 1000, 10**9])
def test_the_cache_changes_nothing(dataset, limit):
    kept = dataclasses.replace(dataset, read=cached(dataset.read, limit))
    assert_equal(batches(kept), batches(dataset))


def test_padding_for_the_devices_adds_rows_that_do_not_count(dataset):
    plain, padded = batches(dataset), batches(dataset, padded=6)
    assert {len(batch.images) for batch in padded} == {6}
    assert_equal(plain, [Batch(*(array[:4] for array in batch)) for batch in padded])
    assert not any(batch.mask[4:].any() or batch.images[4:].any() for batch in padded)


def test_hosts_feed_parts_of_the_same_batches(dataset):
    whole = batches(dataset)
    halves = [batches(dataset, rows=rows) for rows in (slice(0, 2), slice(2, 4))]
    joined = [
        [np.concatenate(pair) for pair in zip(left, right, strict=True)]
        for left, right in zip(*halves, strict=True)
    ]
    assert_equal(joined, whole)


def test_without_augmentation_crops_are_centered(dataset):
    for batch in batches(dataset, augment=False, num_steps=2):
        for row, image in zip(batch.indices, batch.images, strict=True):
            original = dataset.read(dataset.split.train[row])
            top, left = (int(round((n - 4) / 2)) for n in original.shape[:2])
            expected = original[top : top + 4, left : left + 4]
            np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_evaluation_keeps_the_order_and_pads(dataset, threads):
    positions = np.array([7, 7, 1, 0, 11])
    found = list(
        eval_batches(dataset, positions, crop_size=5, batch_size=2, threads=threads)
    )
    assert [batch.indices.tolist() for batch in found] == [[0, 1], [2, 3], [4, 5]]
    assert found[-1].mask.tolist() == [True, False]
    assert not found[-1].images[1].any() and not found[-1].labels[1].any()
    images = np.concatenate([batch.images for batch in found])
    labels = np.concatenate([batch.labels for batch in found])
    np.testing.assert_array_equal(labels[:5], dataset.labels[positions])
    for position, image in zip(positions, images, strict=False):
        original = dataset.read(position)
        top, left = (int(round((n - 5) / 2)) for n in original.shape[:2])
        expected = original[top : top + 5, left : left + 5]
        np.testing.assert_array_equal(image, expected)


def test_no_positions_make_no_batches(dataset):
    nothing = np.array([], np.int64)
    options = {"crop_size": 4, "batch_size": 2, "threads": 2}
    assert list(eval_batches(dataset, nothing, **options)) == []


@pytest.mark.parametrize("threads", [0, 2])
def test_a_small_image_is_refused_by_name(dataset, threads):
    with pytest.raises(
        DataError, match=r"^image \d: 5 x \d pixels, .*crop_size=6; .*out$"
    ):
        batches(dataset, crop_size=6, num_steps=3, threads=threads)
    with pytest.raises(DataError, match="^image 4: 5 x 7 pixels"):
        positions = np.array([5, 6, 4])
        options = {"crop_size": 6, "batch_size": 2, "threads": threads}
        list(eval_batches(dataset, positions, **options))


def test_no_full_batch_is_refused(dataset):
    with pytest.raises(DataError, match="10 training images make no batch of 11"):
        batches(dataset, batch_size=11, drop_last=True)


def test_steps_are_counted():
    assert steps_per_epoch(10_500, 32, drop_last=False) == 329
    assert steps_per_epoch(10_500, 32, drop_last=True) == 328
    assert steps_per_epoch(64, 32, drop_last=False) == 2


@pytest.mark.parametrize("consume", [1, 9])
def test_threads_end_with_the_iterator(dataset, consume):
    def fetching():
        names = [thread.name for thread in threading.enumerate()]
        return sum(name.startswith("grain-prefetch") for name in names)

    iterator = iterate(dataset)
    assert len(list(itertools.islice(iterator, consume))) == consume
    workers = [t for t in threading.enumerate() if t.name.startswith("grain-")]
    iterator.close()
    for worker in workers:
        worker.join(timeout=10)
    assert fetching() == 0


def test_errors_of_workers_reach_the_consumer(dataset):
    def read(position):
        if position == 9:
            raise OSError("disk on fire")
        return np.zeros((8, 8, 3), np.uint8)

    broken = type(dataset)(**vars(dataset) | {"read": read})
    with pytest.raises(OSError, match="disk on fire"):
        batches(broken)


def test_the_cache_reads_once_and_respects_its_limit():
    calls = []

    def read(position):
        calls.append(position)
        return np.zeros((2, 2, 3), np.uint8)

    read_cached = cached(read, 25)
    for _ in range(3):
        for position in range(4):
            read_cached(position)
    assert [calls.count(position) for position in range(4)] == [1, 1, 3, 3]
