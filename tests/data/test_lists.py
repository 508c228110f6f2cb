import logging
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets.lists import scan_lists
from tests.data.sources import SHARED, small_lists, write_images, write_lists

LOGGER = "cgat_jax.data.datasets.lists"


def load(source, root):
    settings = Data(
        name="lists", source=str(source), image_size=32, crop_size=8, enlarge=False
    )
    return load_dataset(settings, root, progress=False)


def edit(path, change):
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def test_the_split_is_the_one_of_the_files(tmp_path):
    source = small_lists(tmp_path / "source")
    dataset = load(source, tmp_path / "root")
    parts = {"train": "train", "query": "test", "database": "database"}
    for part, file in parts.items():
        positions = getattr(dataset.split, part)
        assert positions.dtype == np.int64
        names = (source / f"{file}_img.txt").read_text().split()
        assert [dataset.image_ids[i] for i in positions] == names
        rows = np.loadtxt(source / f"{file}_label.txt", dtype=int)
        np.testing.assert_array_equal(dataset.labels[positions], rows)
    assert len(dataset.image_ids) == len(set(dataset.image_ids)) == 8
    assert dataset.labels.dtype == np.uint8
    assert dataset.class_names == ("class 0", "class 1", "class 2")
    assert dataset.split.name == "lists"


def test_every_image_comes_back_at_its_position(tmp_path):
    source = small_lists(tmp_path / "source")
    dataset = load(source, tmp_path / "root")
    for position, name in enumerate(dataset.image_ids):
        oracle = np.asarray(Image.open(source / name))
        np.testing.assert_array_equal(dataset.read(position), oracle)


def test_names_of_classes_may_be_given(tmp_path):
    source = small_lists(tmp_path / "source")
    (source / "classes.txt").write_text("cat\ndog\nblue sky\n")
    assert scan_lists([source]).class_names == ("cat", "dog", "blue sky")


def test_paths_may_be_relative_to_the_images_folder(tmp_path):
    source = small_lists(tmp_path / "source")
    for part in ("train", "test", "database"):
        path = source / f"{part}_img.txt"
        path.write_text(path.read_text().replace("images/", "./"))
    listing = scan_lists([source])
    assert listing.image_ids[0] == "d3.jpg"
    assert listing.locate(0) == source / "images" / "d3.jpg"


def test_windows_line_ends_and_byte_order_marks_are_read(tmp_path):
    source = small_lists(tmp_path / "source")
    expected = scan_lists([source])
    for path in source.glob("*.txt"):
        text = path.read_text().replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert scan_lists([source]).image_ids == expected.image_ids


def test_repeats_and_leaks_are_counted_in_warnings(tmp_path, caplog):
    database = [("a.jpg", "1 0"), ("b.jpg", "0 0"), ("c.jpg", "1 1")]
    train = [database[0], database[0], database[0], ("e.jpg", "0 1")]
    parts = {"train": train, "test": [database[0]], "database": database}
    write_lists(tmp_path / "source", parts)
    write_images(tmp_path / "source", ["a.jpg", "b.jpg", "c.jpg", "e.jpg"])
    with caplog.at_level(logging.INFO, LOGGER):
        dataset = load(tmp_path / "source", tmp_path / "root")
    logged = {r.getMessage(): r.levelname for r in caplog.records if r.name == LOGGER}
    assert logged == {
        "train list: 2 repeated lines, kept": "WARNING",
        "1 query images are also in the database list": "WARNING",
        "1 query images are also in the train list": "WARNING",
        "1 training images are not in the database": "WARNING",
        "database list: 1 images without any label, kept": "WARNING",
    }
    assert len(dataset.split.train) == 4
    assert len(dataset.labels) == 4


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: shutil.rmtree(d), "no such folder"),
        (lambda d: (d / "test_img.txt").unlink(), "test_img.txt: no such file"),
        (lambda d: (d / "test_label.txt").unlink(), "test_label.txt: no such file"),
        (
            lambda d: (d / "train_img.txt").write_text(""),
            "train_img.txt: the file is empty",
        ),
        (
            lambda d: (d / "train_img.txt").write_bytes(b"\xff\xfe\x00"),
            "train_img.txt: not UTF-8",
        ),
        (
            lambda d: edit(d / "train_label.txt", lambda lines: lines[:-1]),
            "train_label.txt: 2 rows, but train_img.txt has 3 lines",
        ),
        (
            lambda d: edit(d / "train_label.txt", lambda lines: [*lines[:2], "0 1\n"]),
            "train_label.txt, line 3: 2 columns; line 1 has 3",
        ),
        (
            lambda d: edit(d / "test_label.txt", lambda lines: ["0 1\n", "1 0\n"]),
            "differ in columns: .*'test_label.txt': 2",
        ),
        (
            lambda d: edit(d / "test_label.txt", lambda lines: [lines[0], "0 1 -1\n"]),
            r"test_label.txt, line 2: expected 0 or 1, got \['-1'\]",
        ),
        (
            lambda d: edit(d / "test_label.txt", lambda lines: [lines[0], "\n"]),
            "test_label.txt, line 2: 0 columns",
        ),
        (
            lambda d: (d / "classes.txt").write_text("cat\n"),
            "classes.txt: 1 names, but 3 label columns",
        ),
        (
            lambda d: edit(
                d / "test_img.txt", lambda lines: [lines[0], "../secret.jpg\n"]
            ),
            "test_img.txt, line 2: expected a path below .*'../secret.jpg'",
        ),
        (
            lambda d: edit(
                d / "test_img.txt", lambda lines: ["/etc/passwd\n", lines[1]]
            ),
            "test_img.txt, line 1: expected a path below .*'/etc/passwd'",
        ),
        (
            lambda d: edit(d / "test_img.txt", lambda lines: ["\n", lines[1]]),
            "test_img.txt, line 1: expected a path",
        ),
        (
            lambda d: edit(
                d / "train_label.txt", lambda lines: ["1 1 1\n", *lines[1:]]
            ),
            "different label rows: images/d3.jpg$",
        ),
        (
            lambda d: [(d / f"images/d{i}.jpg").unlink() for i in (1, 4)],
            "2 of 8 listed images are missing: images/d4.jpg, images/d1.jpg$",
        ),
    ],
)
def test_a_bad_source_is_refused_in_a_line(tmp_path, damage, message):
    source = small_lists(tmp_path / "source")
    damage(source)
    with pytest.raises(DataError, match=message) as caught:
        load(source, tmp_path / "root")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "root").exists()


@pytest.mark.long
def test_shared_cifar_is_prepared_and_read(tmp_path):
    """Reference: the counts in the README of the shared data."""
    archive = SHARED / "cifar10.tar.xz"
    if not archive.exists():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    source = tmp_path / "cifar10"
    dataset = load(source, tmp_path / "root")
    split = dataset.split
    counts = [len(rows) for rows in (split.query, split.database, split.train)]
    assert counts == [1_000, 59_000, 5_000]
    np.testing.assert_array_equal(dataset.labels[split.train].sum(axis=0), [500] * 10)
    for position in range(0, 60_000, 4_999):
        oracle = np.asarray(Image.open(source / dataset.image_ids[position]))
        np.testing.assert_array_equal(dataset.read(position), oracle)
