"""Prepared data are still those of their source, or say what differs."""

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets import cifar10
from cgat_jax.data.prepare import prepared, provenance
from tests.data import layouts
from tests.data.sources import as_format_1, bytes_below, encode, photo, small_lists

FORMATS = pytest.mark.parametrize("old", [False, True], ids=["format 2", "format 1"])


@pytest.fixture
def source(tmp_path):
    return small_lists(tmp_path / "source")


def load(source, root):
    settings = Data(name="lists", source=str(source), image_size=8)
    return load_dataset(settings, root, progress=False)


def filled(source, root, old=False):
    load(source, root)
    return as_format_1(root) if old else root


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def relabel(source):
    for part in ("train", "database"):
        edit(source / f"{part}_label.txt", "1 0 0", "1 0 1")


def add(source):
    (source / "images/new.jpg").write_bytes(encode(photo(50, 12, 10)))
    for kind, line in (("img", "images/new.jpg\n"), ("label", "0 0 1\n")):
        with (source / f"database_{kind}.txt").open("a") as file:
            file.write(line)


def remove(source):
    for kind in ("img", "label"):
        path = source / f"test_{kind}.txt"
        path.write_text(path.read_text().splitlines()[0] + "\n")


def repaint(source):
    path = source / "images/d1.jpg"
    before = path.stat()
    path.write_bytes(encode(photo(60, 12, 10))[: before.st_size])
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))


def reorder(source):
    for kind in ("img", "label"):
        for part in ("database", "train"):
            path = source / f"{part}_{kind}.txt"
            path.write_text("".join(path.read_text().splitlines(True)[::-1]))


CHANGES = [
    (relabel, r"the labels of 3 images \(images/d4.jpg, images/d0.jpg, images/d2.jpg"),
    (add, r"1 images more \(images/new.jpg\)"),
    (remove, r"1 images fewer \(images/q1.jpg\)"),
    (repaint, r"the contents of 1 images \(images/d1.jpg\)"),
    (reorder, "the order of the images"),
    (lambda d: (d / "classes.txt").write_text("a\nb\nc\n"), "the classes"),
]


@FORMATS
@pytest.mark.parametrize("change, message", CHANGES)
def test_a_source_that_was_changed_is_refused(tmp_path, source, change, message, old):
    root = filled(source, tmp_path / "root", old)
    change(source)
    before = bytes_below(root)
    with pytest.raises(DataError, match=message) as caught:
        load(source, root)
    line = str(caught.value)
    assert "\n" not in line and str(source) in line and str(root) in line
    assert "prepare it into another folder" in line
    assert bytes_below(root) == before
    load("", root)  # without a source the prepared data are used


def test_labels_corrected_while_preparing_are_noticed(tmp_path, source, monkeypatch):
    """The images take hours; the lists were read before."""

    def build(*arguments):
        relabel(source)
        return original(*arguments)

    original = prepared.build
    monkeypatch.setattr(prepared, "build", build)
    load(source, tmp_path / "root")
    with pytest.raises(DataError, match="labels of"):
        load(source, tmp_path / "root")


def test_labels_corrected_while_comparing_are_noticed(tmp_path, source, monkeypatch):
    """A moved source is compared in full, which takes its time as well."""
    root = filled(source, tmp_path / "root")
    moved = source.rename(tmp_path / "moved")
    os.utime(moved / "train_label.txt", (1, 1))
    original = provenance.differences

    def differences(*arguments):
        lines = original(*arguments)
        relabel(moved)
        return lines

    with monkeypatch.context() as patch:
        patch.setattr(provenance, "differences", differences)
        load(moved, root)
    with pytest.raises(DataError, match="labels of"):
        load(moved, root)


def test_another_split_of_the_same_images_is_refused(tmp_path, source):
    root = filled(source, tmp_path / "root")
    for kind in ("img", "label"):
        path = source / f"test_{kind}.txt"
        line = (source / f"database_{kind}.txt").read_text().splitlines()[0]
        path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match="who is query|the order of the images"):
        load(source, root)


@FORMATS
def test_another_source_is_refused(tmp_path, source, old):
    root = filled(source, tmp_path / "root", old)
    other = small_lists(tmp_path / "other", size=(14, 10))
    with pytest.raises(DataError, match="the contents of 8 images"):
        load(other, root)


@FORMATS
@pytest.mark.parametrize(
    "move",
    [
        lambda source, to: source.rename(to),
        lambda source, to: shutil.copytree(source, to, copy_function=shutil.copyfile),
        lambda source, to: layouts.tar_of(source, to.with_name("moved.tar.gz")),
    ],
    ids=["moved", "copied", "packed"],
)
def test_the_same_source_elsewhere_is_remembered(
    tmp_path, source, monkeypatch, move, old
):
    first = filled(source, tmp_path / "root", old)
    digest = load("", first).digest
    moved = move(source, tmp_path / "moved")
    assert load(moved, first).digest == digest

    def never(*arguments):
        raise AssertionError("compared again")

    monkeypatch.setattr(provenance, "differences", never)
    load(moved, first)


def test_files_beside_the_data_and_folders_of_ours_do_not_count(
    tmp_path, source, monkeypatch
):
    root = filled(source, tmp_path / "root")
    filled(small_lists(tmp_path / "other"), source / "prepared here")
    compared = []
    real = provenance.differences
    monkeypatch.setattr(
        provenance, "differences", lambda *a: compared.append(a) or real(*a)
    )
    load(source, root)
    assert not compared
    (source / "notes.txt").write_text("mine")
    load(source, root)
    load(source, root)
    assert len(compared) == 1


def test_a_source_that_is_gone_may_only_be_the_recorded_one(tmp_path, source):
    root = filled(source, tmp_path / "root")
    shutil.rmtree(source)
    load(source, root)
    load(os.path.relpath(source), root)
    with pytest.raises(DataError, match="other: no such folder; the data in .*source$"):
        load(tmp_path / "other", root)


@pytest.mark.parametrize("content", ["", "null", "[]", "{", '{"stamp": 3}', "[" * 9999])
def test_a_damaged_memory_of_the_source_costs_a_comparison(tmp_path, source, content):
    root = filled(source, tmp_path / "root")
    (root / "source.json").write_text(content)
    load(source, root)
    assert "stamp" in (root / "source.json").read_text()


def test_a_folder_that_may_only_be_read_is_used(tmp_path, source, monkeypatch, caplog):
    root = filled(source, tmp_path / "root")
    (source / "notes.txt").write_text("mine")

    def refuse(*arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(provenance, "write_sealed", refuse)
    load(source, root)
    assert "compared again next time" in caplog.text


def test_digests_of_cifar_do_not_depend_on_the_png_encoder(tmp_path, rng, monkeypatch):
    pixels = rng.integers(0, 256, (6, 20, 3072), dtype=np.uint8)
    classes = (np.arange(20) % 10).tolist()
    batches = {
        name: (pixels[i], classes) for i, name in enumerate(layouts.CIFAR_BATCHES)
    }
    source = layouts.cifar_binary(tmp_path / "source", batches)
    settings = Data(
        name="cifar10", source=str(source), num_queries=10, num_train=50, image_size=32
    )
    first = load_dataset(settings, tmp_path / "one", progress=False)
    png = cifar10._png
    monkeypatch.setattr(
        cifar10,
        "_png",
        lambda row: encode(Image.open(io.BytesIO(png(row))), "PNG", compress_level=0),
    )
    second = load_dataset(settings, tmp_path / "two", progress=False)
    np.testing.assert_array_equal(first.contents, second.contents)
    assert first.digest == second.digest

    old = as_format_1(tmp_path / "one")
    np.save(old / "contents.npy", np.arange(120, dtype=np.uint64))  # of PNG bytes
    load_dataset(settings, old, progress=False)
    (source / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(
        np.column_stack([np.array(classes, np.uint8), pixels[0]]).tobytes()
    )
    with pytest.raises(DataError, match="the contents of 20 images"):
        load_dataset(settings, old, progress=False)
