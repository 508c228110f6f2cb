import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import SCANS, load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare import prepared, shards
from cgat_jax.data.prepare.builder import MAX_NAMED
from cgat_jax.data.prepare.shards import images_per_part
from cgat_jax.files.io import write_sealed
from tests.data.sources import encode, photo, small_lists, write_lists

OPTIONS = {"image_size": 32, "threads": 2, "progress": False}


def settings(source="", **changes):
    changes = {"enlarge": False} | changes
    return Data(name="lists", source=str(source), image_size=32, **changes)


def fill(root, source):
    return prepared.prepare(SCANS["lists"], source, root, **OPTIONS)


def many_lists(folder, count):
    """One-label lists of ``count`` small images, each of its own grey level."""
    names = [f"{i:05d}.png" for i in range(count)]
    rows = [(name, "1") for name in names]
    write_lists(folder, {"train": rows, "test": rows[:1], "database": rows})
    for i, name in enumerate(names):
        pixels = np.full((2, 2, 3), (i % 256, i // 256, 0), np.uint8)
        (folder / name).write_bytes(encode(pixels, "PNG"))


def test_preparing_again_does_nothing(tmp_path):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"
    assert fill(root, source)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert not fill(root, source)
    source.rename(tmp_path / "gone")
    assert not fill(root, source)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_the_source_is_not_needed_afterwards(tmp_path):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"
    fill(root, source)
    source.rename(tmp_path / "gone")
    dataset = load_dataset(settings(), root, progress=False)
    assert dataset.read(0).shape == (12, 10, 3)


def test_order_survives_several_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_IMAGES", 100)
    many_lists(tmp_path / "source", 210)
    dataset = load_dataset(
        settings(tmp_path / "source"), tmp_path / "root", progress=False
    )
    parts = list((tmp_path / "root").rglob("*part_*array_record*"))
    assert len(parts) == 3
    for position in range(210):
        pixel = dataset.read(position)[0, 0]
        assert int(pixel[0]) + 256 * int(pixel[1]) == position


def test_threads_read_alike(tmp_path):
    many_lists(tmp_path / "source", 300)
    dataset = load_dataset(
        settings(tmp_path / "source"), tmp_path / "root", progress=False
    )
    alone = [dataset.read(i)[0, 0].tolist() for i in range(300)]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda i: dataset.read(i)[0, 0].tolist(), range(300))
    assert list(together) == alone


def test_all_bad_images_are_named_and_nothing_is_kept(tmp_path):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"
    (source / "images/d0.jpg").write_bytes(b"")
    (source / "images/d5.jpg").write_bytes(b"<html>")
    (source / "images/q1.jpg").write_bytes(encode(photo(0, 9, 9))[:-50])
    with pytest.raises(DataError) as caught:
        fill(root, source)
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 images are not usable:"
    bad = {line.split(":")[0] for line in lines[1:]}
    assert bad == {"images/d0.jpg", "images/d5.jpg", "images/q1.jpg"}
    assert not prepared.is_prepared(root)
    with pytest.raises(DataError, match="no prepared data"):
        load_dataset(settings(), root, progress=False)

    small_lists(source)
    assert fill(root, source)
    assert load_dataset(settings(), root, progress=False).read(7).shape == (12, 10, 3)


@pytest.mark.parametrize("count", [64, 70])
def test_a_bad_last_image_of_a_part_is_found(tmp_path, count, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_IMAGES", 64)
    many_lists(tmp_path / "source", count)
    (tmp_path / "source/00063.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 images are not usable:\n00063.png"):
        fill(tmp_path / "root", tmp_path / "source")


def test_all_bad_images_are_listed_until_they_are_mended(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_IMAGES", 40)
    source, root = tmp_path / "source", tmp_path / "root"
    many_lists(source, 100)
    whole = {path: path.read_bytes() for path in sorted(source.glob("*.png"))}
    bad = list(whole)[1:91]
    for path in bad:
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        fill(root, source)
    lines = [f"{path.name}: the file is empty" for path in bad]
    assert (root / "unusable.txt").read_text().splitlines() == lines
    first, *named, last = str(caught.value).splitlines()
    assert first == "90 images are not usable:" and named == lines[:MAX_NAMED]
    assert last == f"and 70 more; all of them: {root / 'unusable.txt'}"
    for path in bad[1:]:
        path.write_bytes(whole[path])
    with pytest.raises(DataError, match="^1 images are not usable:\n00001.png: the"):
        fill(root, source)
    assert (root / "unusable.txt").read_text().splitlines() == lines[:1]
    bad[0].write_bytes(whole[bad[0]])
    assert fill(root, source)
    assert not (root / "unusable.txt").exists()


def test_an_oversized_file_is_not_even_read(tmp_path):
    source = small_lists(tmp_path / "source")
    with (source / "images/d2.jpg").open("wb") as file:
        file.truncate(60 * 10**6)
    with pytest.raises(DataError, match="images/d2.jpg: over 50 MB"):
        fill(tmp_path / "root", source)


def test_an_interrupted_preparation_is_not_taken_for_complete(tmp_path, monkeypatch):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared, "write_manifest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fill(root, source)
    assert (root / "images").is_dir()
    assert not prepared.is_prepared(root)
    assert fill(root, source)
    assert not (root / "incomplete").exists()
    assert load_dataset(settings(), root, progress=False).read(0).shape == (12, 10, 3)


def test_two_processes_prepare_once(tmp_path):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(fill, [(root, source)] * 2)
        pool.close()
        pool.join()
    assert sorted(done) == [False, True]


def test_other_settings_are_refused(tmp_path):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"
    fill(root, source)
    with pytest.raises(DataError, match="image_size is 32, not 64; choose another"):
        load_dataset(Data(name="lists", image_size=64), root, progress=False)
    with pytest.raises(DataError, match="name is 'lists', not 'coco'"):
        load_dataset(Data(name="coco", image_size=32), root, progress=False)
    path = root / "prepared.json"
    write_sealed(path, json.loads(path.read_text()) | {"format": 0})
    with pytest.raises(DataError, match="format is 0, not 1 or 2; choose another"):
        load_dataset(settings(), root, progress=False)


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: (root / "prepared.json").write_text("{"),
        lambda root: (root / "arrays.npz").write_bytes(b"PK"),
        lambda root: (root / "arrays.npz").write_bytes(b"PK\x03\x04" + bytes(90)),
        lambda root: (root / "arrays.npz").unlink(),
        lambda root: (root / "images/features.json").unlink(),
        lambda root: (root / "images/dataset_info.json").unlink(),
    ],
)
def test_damage_is_reported_in_a_line(tmp_path, damage):
    source, root = small_lists(tmp_path / "source"), tmp_path / "root"
    fill(root, source)
    damage(root)
    with pytest.raises(DataError, match="damaged .*prepare it again") as caught:
        load_dataset(settings(), root, progress=False)
    assert "\n" not in str(caught.value)


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'cocoo'.*mean 'coco'"):
        load_dataset(Data(name="cocoo"), tmp_path, progress=False)


def test_a_missing_source_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="set data.source .*data.root"):
        load_dataset(settings(), tmp_path, progress=False)


def test_neither_tensorflow_nor_jax_is_imported(tmp_path):
    source = small_lists(tmp_path / "source")
    code = f"""
import sys
from pathlib import Path
from cgat_jax.config import Data
from cgat_jax.data import load_dataset
settings = Data(name="lists", source={str(source)!r}, image_size=32)
load_dataset(settings, Path({str(tmp_path / "root")!r}), progress=True).read(0)
assert not {{"tensorflow", "jax"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_parts_stay_below_what_needs_tensorflow():
    counts = {size: images_per_part(size) for size in (32, 256, 1024, 20_000)}
    assert counts == {32: 1024, 256: 1024, 1024: 95, 20_000: 1}
