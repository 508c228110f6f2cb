"""Data on which a number says nothing are named."""

import absl.flags
import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import degeneracies, load_dataset
from cgat_jax.data.dataset import make_split
from experiments import prepare as program
from tests.data.sources import small_lists, write_images

NAMES = [str(i) for i in range(8)]
EIGHT = np.arange(8)
SPLIT = make_split("s", NAMES, train=EIGHT[:4], query=EIGHT[6:], database=EIGHT[:6])
PARTS = "train", "test"
DRAWN = {"num_queries": 0, "num_train": 0}
TWINS = np.array([0, 1, 2, 3, 4, 5, 5, 1], np.uint64)  # of the queries, 6 and 7
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
        (
            "100 010 100 010 100 010 100 001",
            [
                "1 of 2 queries with no label that a database image has, so that no",
                "1 of 2 queries with no label that a training image has, so that their",
            ],
        ),
        (
            "100 010 100 010 001 001 000 001",
            ["1 of 2 queries with no label that a training image has, so that their"],
        ),
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


def test_queries_with_copies_elsewhere_are_counted():
    labels = rows("10 01 10 01 10 01 10 01")
    database, train = degeneracies(labels, SPLIT, TWINS)
    assert database.startswith("2 of 2 queries with a copy in the database, so that")
    assert train.startswith("1 of 2 queries with a copy among the training images, so")
    itself = make_split("s", NAMES, train=EIGHT[:4], query=EIGHT[2:3], database=EIGHT)
    assert degeneracies(labels, itself, TWINS) == []  # in the list, under its own name


def test_a_split_of_folders_with_equal_photos_is_said(tmp_path, capsys):
    names = [f"{part}/{kind}/{i}.jpg" for part in PARTS for kind in "ab" for i in "12"]
    write_images(tmp_path / "source", names)
    for kind in "ab":
        data = (tmp_path / f"source/train/{kind}/1.jpg").read_bytes()
        (tmp_path / f"source/test/{kind}/2.jpg").write_bytes(data)
    out, flags = tmp_path / "out", absl.flags.FlagValues()
    program.define_flags(flags)
    flags(["prepare", f"--source={tmp_path / 'source'}", f"--out={out}"])
    assert program.main(flags) == 0
    printed = capsys.readouterr().out.splitlines()
    dataset = load_dataset(Data(name="photos", **DRAWN), out, progress=False)
    found = degeneracies(dataset.labels, dataset.split, dataset.contents)
    assert [line[:28] for line in found] == ["2 of 4 queries with a copy i"] + [
        "2 of 4 queries with a copy a"
    ]
    for line in found:
        assert f"split photos: {line}" in printed


def test_the_contents_come_with_the_data_set(tmp_path):
    source = small_lists(tmp_path / "source")
    first = (source / "images/d0.jpg").read_bytes()
    for path in (source / "images").iterdir():
        path.write_bytes(first)
    settings = Data(name="lists", source=str(source), image_size=8)
    dataset = load_dataset(settings, tmp_path / "root", progress=False)
    found = degeneracies(dataset.labels, dataset.split, dataset.contents)
    assert found and found[-1].startswith("all images have the same content")
