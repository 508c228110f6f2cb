"""Data sets from arrays: what they are, what they take, what they refuse."""

import dataclasses

import numpy as np
import pytest

from cgat_jax.data import degeneracies
from cgat_jax.data.arrays import ArrayData, array_dataset
from cgat_jax.data.dataset import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 4, 4, 3), np.uint8)
LABELS = np.eye(9, 3, dtype=np.uint8)
DATA = ArrayData(
    query_images=IMAGES[:2],
    query_labels=LABELS[:2],
    database_images=IMAGES[2:],
    database_labels=LABELS[2:],
)


def test_positions_count_the_parts_and_the_database_trains_by_default():
    dataset = array_dataset(DATA)
    split = dataset.split
    np.testing.assert_array_equal(split.database, np.arange(7))
    np.testing.assert_array_equal(split.query, [7, 8])
    np.testing.assert_array_equal(split.train, split.database)
    assert split.name == "arrays-7d-2q-7t"
    for rows, images, labels in (
        (split.query, IMAGES[:2], LABELS[:2]),
        (split.database, IMAGES[2:], LABELS[2:]),
    ):
        np.testing.assert_array_equal([dataset.read(int(i)) for i in rows], images)
        np.testing.assert_array_equal(dataset.labels[rows], labels)
    assert dataset.image_ids[7] == "query/000000"
    assert dataset.class_names == ("class 0", "class 1", "class 2")
    np.testing.assert_array_equal(dataset.sizes(), np.full((9, 2), 4))
    assert "all images have the same content" not in str(
        degeneracies(dataset.labels, split, dataset.contents)
    )


def test_training_images_of_their_own_come_last():
    train = {"train_images": IMAGES[:3], "train_labels": LABELS[:3]}
    dataset = array_dataset(dataclasses.replace(DATA, **train))
    np.testing.assert_array_equal(dataset.split.train, [9, 10, 11])
    np.testing.assert_array_equal(dataset.read(10), IMAGES[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_256_levels_and_other_kinds_of_zero_and_one_are_the_same_data(dtype):
    other = dataclasses.replace(
        DATA,
        query_images=IMAGES[:2].astype(dtype) / dtype(255),
        query_labels=LABELS[:2].astype(bool),
        database_labels=LABELS[2:].astype(np.int64),
    )
    assert array_dataset(other).digest == array_dataset(DATA).digest


def test_another_pixel_label_or_order_is_other_data():
    known = array_dataset(DATA).digest
    images, labels = IMAGES[2:].copy(), LABELS[2:].copy()
    images[3, 0, 0, 0] ^= 1
    labels[0, 0] ^= 1
    pixel = dataclasses.replace(DATA, database_images=images)
    label = dataclasses.replace(DATA, database_labels=labels)
    order = dataclasses.replace(DATA, query_images=IMAGES[:2][::-1])
    for data, part in ((pixel, "contents"), (label, "labels"), (order, "contents")):
        found = array_dataset(data).digest
        assert found.whole != known.whole
        assert getattr(found, part) != getattr(known, part)


REFUSED = {
    r"query_images: expected square .* got \[2, 48\]": {
        "query_images": IMAGES[:2].reshape(2, 48)
    },
    "channels come last": {"query_images": IMAGES[:2].transpose(0, 3, 1, 2)},
    r"expected square images .* got \[2, 4, 3, 3\]": {
        "query_images": IMAGES[:2, :, :3]
    },
    r"got \[0, 4, 4, 3\]": {"query_images": IMAGES[:0]},
    "query_images: expected uint8, or float": {"query_images": IMAGES[:2].astype(int)},
    r"values in \[0, 1\], got -0.5": {"query_images": IMAGES[:2] / 255 - 0.5},
    r"values in \[0, 1\], got nan": {"query_images": IMAGES[:2] * np.nan},
    "between the 256 levels": {"query_images": IMAGES[:2] / 300},
    "all of one size": {"query_images": IMAGES[:2, :3, :3]},
    "the same classes": {"query_labels": LABELS[:2, :2]},
    r"a row an image, got 3 for 2": {"query_labels": LABELS[:3]},
    r"np.eye\(C": {"query_labels": np.array([0, 2])},
    r"of {0, 1}, got \[2, 3\] with values \[0, 2\]": {"query_labels": 2 * LABELS[:2]},
    "give both, or neither": {"train_images": IMAGES},
    "class_names: expected 3": {"class_names": ["cat"]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(message):
    with pytest.raises(DataError, match=message) as refused:
        array_dataset(dataclasses.replace(DATA, **REFUSED[message]))
    assert "\n" not in str(refused.value)
