"""Data on which a number says nothing are named."""

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import degeneracies, load_dataset
from cgat_jax.data.dataset import make_split
from tests.data.sources import small_lists

NAMES = [str(i) for i in range(8)]
EIGHT = np.arange(8)
SPLIT = make_split("s", NAMES, train=EIGHT[:4], query=EIGHT[6:], database=EIGHT[:6])
NO_MAP = "so that every MAP is 0"


def rows(text):
    return np.array([[int(bit) for bit in row] for row in text.split()], np.uint8)


@pytest.mark.parametrize(
    "labels, expected",
    [
        ("10 01 10 01 10 01 10 01", []),
        ("10 01 10 01 10 01 00 01", []),
        (
            "00 00 00 00 00 00 00 00",
            [f"no image has a label, {NO_MAP}", "no training image has a label"],
        ),
        ("10 01 10 01 10 01 00 00", [f"no query has a label, {NO_MAP}"]),
        (
            "00 00 00 00 00 00 10 01",
            [f"no database image has a label, {NO_MAP}", "no training image has a la"],
        ),
        (
            "100 100 010 010 100 010 001 001",
            [f"no query shares a label with a database image, {NO_MAP}"],
        ),
        (
            "1 1 1 1 1 1 1 1",
            [
                "every database image is relevant to every query, so that every MAP is",
                "all training images share labels",
            ],
        ),
        ("10 10 10 10 01 01 10 01", ["all training images share labels"]),
        ("10 01 11 11 11 10 11 11", ["every database image is relevant to every"]),
        ("00 00 00 00 10 01 10 01", ["no training image has a label"]),
    ],
)
def test_labels(labels, expected):
    found = degeneracies(rows(labels), SPLIT)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start) and "\n" not in line


def test_equal_images():
    labels = rows("10 01 10 01 10 01 10 01")
    assert degeneracies(labels, SPLIT, np.arange(8, dtype=np.uint64)) == []
    (line,) = degeneracies(labels, SPLIT, np.full(8, 7, np.uint64))
    assert line.startswith("all images have the same content")


def test_the_contents_come_with_the_data_set(tmp_path):
    source = small_lists(tmp_path / "source")
    first = (source / "images/d0.jpg").read_bytes()
    for path in (source / "images").iterdir():
        path.write_bytes(first)
    settings = Data(name="lists", source=str(source), image_size=8)
    dataset = load_dataset(settings, tmp_path / "root", progress=False)
    found = degeneracies(dataset.labels, dataset.split, dataset.contents)
    assert found and found[-1].startswith("all images have the same content")
