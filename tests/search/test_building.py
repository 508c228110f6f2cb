"""Indexes of photos and of runs, by the programs, as a user has them."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from cgat_jax import Index
from cgat_jax.data.arrays import ArrayData, array_dataset
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.search.beside import database_codes, load_alarm, load_training
from cgat_jax.search.building import add_dataset, add_photos
from cgat_jax.search.engines import EngineSettings
from cgat_jax.search.folder import check_engine, create_folder
from cgat_jax.search.pictures import find_photos
from tests.programs import ROOT, Program, run_program
from tests.search.networks import network, photos


@pytest.fixture
def folder(tmp_path):
    """Photos of two classes, a folder in a folder, and what is no photo."""
    root = tmp_path / "photos"
    for number, photo in enumerate(photos(9)):
        path = root / ("cat" if number < 4 else "dog/old") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)
    (root / "notes.txt").write_text("mine")
    (root / ".hidden.png").write_bytes(b"")
    (root / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    return root


@pytest.fixture
def index(tmp_path):
    create_folder(tmp_path / "index", network(), EngineSettings("numpy"))
    index = Index.load(tmp_path / "index")
    yield index
    index.close()


def paths_of(index):
    return sorted(index.catalogue.origins())


PATHS = [f"cat/{i}.png" for i in range(4)] + [f"dog/old/{i}.png" for i in range(4, 9)]


def test_photos_are_found_by_their_paths(folder, index):
    built = add_photos(index, folder, label_by_folder=True)
    assert built[:4] == (9, 0, 0, 1)
    assert [*built.failed] == ["cat/broken.jpg"]
    assert "cat/broken.jpg: " in built.failed["cat/broken.jpg"]
    assert paths_of(index) == PATHS
    found = index.search(photos(9)[5:6], k=9)
    assert found.distances[0, 0] == 0
    labels = dict(zip(found.ids[0], found.labels[0], strict=True))
    assert labels["cat/1.png"] == ("cat",) and labels["dog/old/5.png"] == ("dog",)
    picture = index.catalogue.picture(int(found.numbers[0, 0]))
    assert picture.startswith(b"\xff\xd8")


def test_a_name_that_is_no_text_is_named_and_left_out(folder, index, tmp_path):
    other = folder / os.fsdecode(b"d\xe9j\xe0") / "vu.png"
    other.parent.mkdir()
    Image.fromarray(photos(1, seed=7)[0]).save(other)
    built = add_photos(index, folder, label_by_folder=True)
    assert built.added == 9 and paths_of(index) == PATHS
    lines = [why for path, why in built.failed.items() if path.endswith("vu.png")]
    assert lines == [r"photo 'd\udce9j\udce0/vu.png': is no text of UTF-8"]
    assert add_photos(index, folder)[:3] == (0, 0, 0)
    odd = tmp_path / os.fsdecode(b"\xe9")  # only what lies below is an id
    folder.rename(odd)
    assert add_photos(index, odd)[:3] == (0, 0, 0)


def test_a_photo_that_is_too_small_is_named_and_left_out(folder, tmp_path):
    fixed = dataclasses.replace(network(), card=network().card | {"enlarge": False})
    create_folder(tmp_path / "index", fixed, EngineSettings("numpy"))
    index = Index.load(tmp_path / "index")
    for name, size in (("small.png", (50, 31)), ("fits.png", (50, 32))):
        Image.new("RGB", size, "red").save(folder / name)
    built = add_photos(index, folder)
    assert built.added == 10 and "fits.png" in paths_of(index)
    text = "small.png: 50 x 31 pixels, smaller than the network's 32"
    assert built.failed["small.png"] == f"{folder}/{text}"
    index.close()
    done = program("search", f"--index={tmp_path}/index", folder / "small.png")
    assert done.returncode == 2 and text in done.stderr


def test_an_id_that_was_given_by_hand_stops_no_folder(folder, index):
    index.add(photos(1, seed=9), [PATHS[2]])
    built = add_photos(index, folder)
    assert built.added == 8 and "has this id" in built.failed[PATHS[2]]
    assert add_photos(index, folder)[:3] == (0, 0, 0)
    assert index.search(photos(1, seed=9), k=1).ids == [[PATHS[2]]]


def test_an_index_follows_its_folder(folder, index):
    add_photos(index, folder)
    index.add(photos(1, seed=9), ["by hand"])
    before = index.catalogue.numbers_of(PATHS[:1])
    assert add_photos(index, folder)[:3] == (0, 0, 0)
    (folder / PATHS[1]).unlink()
    Image.fromarray(photos(1, seed=7)[0]).save(folder / PATHS[2])
    os.utime(folder / PATHS[2], (1, 1))
    Image.fromarray(photos(1, seed=8)[0]).save(folder / "new.jpg")
    built = add_photos(index, folder)
    assert built[:3] == (1, 1, 1)
    assert paths_of(index) == sorted([*PATHS[:1], *PATHS[2:], "new.jpg", "by hand"])
    assert index.catalogue.numbers_of(PATHS[:1]) == before
    found = index.search(photos(1, seed=7), k=1)
    assert found.distances[0, 0] == 0
    (folder / PATHS[3]).write_bytes(b"no more")
    built = add_photos(index, folder)
    assert built[:3] == (0, 0, 1) and PATHS[3] in built.failed
    assert PATHS[3] not in paths_of(index)


def test_a_stop_keeps_what_was_added(folder, index, monkeypatch):
    monkeypatch.setattr("cgat_jax.search.building.CHUNK", 2)
    asked = []

    def stop():
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_photos(index, folder, check_stop=stop)
    assert paths_of(index) == PATHS[:4]
    assert add_photos(index, folder)[:3] == (5, 0, 0)
    assert paths_of(index) == PATHS


def test_a_folder_without_photos_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no photo in it"):
        find_photos(tmp_path / "empty")
    with pytest.raises(InputError, match="is no folder"):
        find_photos(tmp_path / "none")


@pytest.fixture
def dataset(rng):
    images = rng.integers(0, 256, (60, 40, 40, 3), dtype=np.uint8)
    labels = np.eye(3, dtype=np.uint8)[np.arange(60) % 3]
    data = ArrayData(
        query_images=images[:30],
        query_labels=labels[:30],
        database_images=images[30:],
        database_labels=labels[30:],
    )
    return array_dataset(data)


def test_what_a_run_trained_on_comes_with_its_index(dataset, index):
    built = add_dataset(index, dataset, queries=4)
    assert built.added == len(index) == len(dataset.split.database)
    ((_, id_, labels), *rest) = index.catalogue.query_list()
    assert len(rest) == 3 and len(labels) == 1 and id_ in dataset.image_ids
    assert len(index.catalogue.clean_queries()) == 26
    training = load_training(index)
    positions = dataset.split.train
    images = [dataset.read(int(i)) for i in positions]
    np.testing.assert_array_equal(training.codes, network().encode(images))
    np.testing.assert_array_equal(training.labels, dataset.labels[positions])
    assert add_dataset(index, dataset, queries=4).added == 0
    np.save(index.path / "training_codes.npy", training.codes)
    with pytest.raises(DamagedFileError, match="training_codes.npy"):
        load_training(index)


def test_queries_of_all_classes_come_from_a_split_in_their_order(
    dataset, index, monkeypatch
):
    monkeypatch.setattr("cgat_jax.search.building.CLEAN", 12)
    by_class = dataset.split.query[np.argsort(dataset.split.query % 3, kind="stable")]
    split = dataclasses.replace(dataset.split, query=by_class)
    dataset = dataclasses.replace(dataset, split=split)
    found = []
    for _ in range(2):  # the same again
        add_dataset(index, dataset, queries=9)
        rows = index.catalogue._db.rows("SELECT id, labels, clean FROM queries")
        found.append(rows)
        for clean, count in ((0, 9), (1, 12)):
            labels = [own for _, own, is_clean in rows if is_clean == clean]
            assert len(labels) == count and len({*labels}) == 3
    assert found[0] == found[1] and len({id_ for id_, _, _ in rows}) == 21


def test_the_alarm_is_of_the_clean_queries_there_are(dataset, index):
    """Another number of queries that are shown leaves others for the alarm."""
    add_dataset(index, dataset, queries=4)
    before = load_alarm(index, load_training(index))
    text = (index.path / "alarm.json").read_text()
    add_dataset(index, dataset, queries=7)
    alarm = load_alarm(index, load_training(index))
    assert len(before.content.clean) == 26 and len(alarm.content.clean) == 23
    assert (index.path / "alarm.json").read_text() != text
    earlier = json.dumps(alarm.to_json())  # as an earlier version wrote it
    (index.path / "alarm.json").write_text(earlier)
    assert load_alarm(index, load_training(index)).to_json() == alarm.to_json()
    assert "clean_images_sha256" in (index.path / "alarm.json").read_text()


def test_the_alarm_is_of_the_items_there_are(dataset, index):
    add_dataset(index, dataset, queries=4)
    path, training = index.path / "alarm.json", load_training(index)
    whole = path.read_text()
    alarm = load_alarm(index, training)
    assert alarm.content.false_alarms == 0.05 and len(alarm.content.clean) == 26
    np.testing.assert_array_equal(
        database_codes(index),
        np.where(
            network().encode([dataset.read(int(i)) for i in range(30)]) > 0, 1, -1
        ),
    )
    for damage in (whole[:50], "", "{}", whole.replace("0.05", "0.5")):
        path.write_text(damage)
        assert load_alarm(index, training).to_json() == alarm.to_json()
        assert path.read_text() == whole
    index.add(photos(1), ["new"])
    assert load_alarm(index, training).to_json() != alarm.to_json()
    assert path.read_text() != whole
    index.catalogue.set_queries([])
    assert load_alarm(index, training) is None


def program(name, *arguments):
    return run_program(f"experiments.{name}", *arguments)


@pytest.fixture
def weights(tmp_path):
    return network().save(tmp_path / "net.safetensors")


def test_the_programs_from_photos_to_answers(folder, tmp_path, weights):
    out = tmp_path / "made"
    arguments = [f"--workdir={weights}", f"--images={folder}", f"--out={out}"]
    done = program("index", *arguments, "--label-by-folder")
    assert done.returncode == 0, done.stderr
    assert "9 images added, 1 left out, 1 files are no photos" in done.stdout
    assert re.search(r"index: left out: .*broken.jpg: ", done.stderr)
    assert "faiss-flat, exact" in done.stdout

    photo, page = folder / PATHS[0], tmp_path / "found.html"
    asked = [f"--index={out}", "--k=3", photo]
    done = program("search", *asked, f"--html={page}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(photo)
    assert done.stdout.splitlines()[1].split()[:3] == ["1", "0", "bits"]
    text = page.read_text()
    assert text.count("<figure>") == 3 and "http" not in text
    done = program("search", *asked, "--json")
    (line,) = [json.loads(x) for x in done.stdout.splitlines()]
    assert line["photo"] == str(photo) and len(line["found"]) == 3
    odd = tmp_path / os.fsdecode(b"\xe9.png")
    odd.write_bytes(photo.read_bytes())
    done = program("search", f"--index={out}", odd, f"--html={page}")
    assert done.returncode == 0 and r"\xe9.png" in done.stdout, done.stderr
    page.write_text("mine")
    done = program("search", *asked, f"--html={page}")
    assert done.returncode == 2 and page.read_text() == "mine"


def test_a_class_of_an_index_without_labels_says_how_to_have_them(
    folder, tmp_path, weights
):
    out = tmp_path / "made"
    program("index", f"--workdir={weights}", f"--images={folder}", f"--out={out}")
    done = program("search", f"--index={out}", "--label=cat", folder / PATHS[0])
    assert done.returncode == 2
    assert "experiments.index --label_by_folder" in done.stderr


@pytest.mark.slow
def test_more_at_the_last_distance_than_are_shown_is_said(tmp_path):
    path, photo = tmp_path / "made", tmp_path / "photo.png"
    (image,) = photos(1)
    Image.fromarray(image).save(photo)
    built = Index.build(network(), [image] * 3, labels=[["a"], ["a"], ["b"]])
    built.save(path)
    for asked, is_told in (
        (("--k=2",), True),
        (("--k=3",), False),
        (("--k=9",), False),
        (("--k=1", "--label=a"), True),
        (("--k=2", "--label=a"), False),
        (("--label=a",), False),
    ):
        done = program("search", f"--index={path}", *asked, photo)
        assert done.returncode == 0, done.stderr
        assert ("order in which they were added" in done.stdout) == is_told, asked
    done = program("search", f"--index={path}", "--k=2", "--json", photo)
    assert len(json.loads(done.stdout)["found"]) == 2


@pytest.mark.slow
def test_without_faiss_an_index_is_built_and_says_what_searches(
    folder, tmp_path, weights
):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "faiss.py").write_text("raise ImportError\n")
    out = tmp_path / "made"
    given = [f"--workdir={weights}", f"--images={folder}", f"--out={out}"]
    command = [sys.executable, "-m", "experiments.index", *given]
    environment = os.environ | {
        "PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "FAISS is not installed, so NumPy searches" in done.stderr
    assert "numpy, exact" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--out={tmp}/x"], "--workdir is missing"),
        (["--workdir={net}"], "--out is missing"),
        (["--workdir={net}", "--out={tmp}/x", "--images={tmp}/none"], "is no folder"),
        (["--workdir={tmp}/none", "--out={tmp}/x", "--images={photos}"], "no network"),
        (["--workdir={net}", "--out={photos}/x", "--images={photos}"], "lies in"),
        (["--workdir={net}", "--out={photos}", "--images={photos}"], "the source"),
        (["--workdir={net}", "--out={tmp}/x"], "no config.json"),
        (
            ["--workdir={net}", "--out={tmp}/x", "--images={photos}", "--engine=fais"],
            "did you mean",
        ),
    ],
)
def test_what_cannot_be_indexed_is_one_line(folder, tmp_path, weights, arguments, why):
    names = {"tmp": tmp_path, "net": weights, "photos": folder}
    before = sorted(folder.rglob("*"))
    done = program("index", *[x.format(**names) for x in arguments])
    assert done.returncode == 2
    assert why in done.stderr and done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_an_index_of_another_network_or_in_use_is_refused(folder, tmp_path, weights):
    out = tmp_path / "made"
    arguments = [f"--images={folder}", f"--out={out}"]
    assert program("index", f"--workdir={weights}", *arguments).returncode == 0
    other = network(seed=1).save(tmp_path / "other.safetensors")
    done = program("index", f"--workdir={other}", *arguments)
    assert done.returncode == 2 and "encode with the index's own" in done.stderr
    assert len(Index.load(out)) == 9


@pytest.mark.parametrize(
    ("made", "asked", "why"),
    [
        ("numpy", EngineSettings("faiss"), "its engine is numpy, not faiss"),
        ("auto", EngineSettings("numpy"), "its engine is auto, not numpy"),
        (
            "numpy",
            EngineSettings(uri="/a.db"),
            "address is none, not /a.db",
        ),
        ("numpy", EngineSettings("numpy"), None),
        ("numpy", EngineSettings(), None),
    ],
)
def test_an_index_keeps_its_engine(tmp_path, made, asked, why):
    create_folder(tmp_path / "index", network(), EngineSettings(made))
    refused = pytest.raises(InputError, match=why) if why else nullcontext()
    with refused:
        check_engine(tmp_path / "index", asked)


def test_another_engine_is_refused_by_the_program(folder, tmp_path, weights):
    arguments = [f"--workdir={weights}", f"--images={folder}", f"--out={tmp_path}/made"]
    assert program("index", *arguments, "--engine=numpy").returncode == 0
    done = program("index", *arguments, "--engine=faiss")
    assert done.returncode == 2 and "its engine is numpy" in done.stderr
    assert program("index", *arguments, "--engine=numpy").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_build_that_ends_goes_on(folder, tmp_path, weights, number):
    for i in range(600):
        Image.fromarray(photos(1, seed=i)[0]).save(folder / f"{i:03}.png")
    out = tmp_path / "made"
    arguments = [f"--workdir={weights}", f"--images={folder}", f"--out={out}"]
    child = Program("experiments.index", *arguments)
    catalogue = out / "catalogue.sqlite"
    while child.poll() is None and not catalogue.is_file():
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(number)
    assert child.wait(60) in (-signal.SIGKILL, 128 + signal.SIGTERM, 0)
    done = program("index", *arguments)
    assert done.returncode == 0, done.stderr
    index = Index.load(out)
    assert len(index) == 609 and paths_of(index)[:1] == ["000.png"]
