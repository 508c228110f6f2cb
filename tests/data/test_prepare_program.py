import shutil
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from cgat_jax.data import SCANS
from cgat_jax.data.prepare.prepared import open_prepared
from experiments import prepare
from tests.data import layouts
from tests.data.sources import small_coco, small_lists, write_lists


def values(**given):
    parsed = flags.FlagValues()
    prepare.define_flags(parsed)
    parsed(["prepare", *(f"--{name}={value}" for name, value in given.items())])
    return parsed


def test_it_prepares_once_and_says_what_there_is(tmp_path, capsys):
    source, out = small_coco(tmp_path / "source"), tmp_path / "out"
    given = values(dataset="coco", source=source, out=out, image_size=30)
    assert prepare.main(given) == 0
    first = capsys.readouterr().out.splitlines()
    assert first == [
        "coco: 4 images, 4 classes, 1.50 labels per image",
        "images a class: apple 2, bus 0, person 2, zebra 2",
        "2 of 6 images have no annotation, left out",
        "2 copies of other images: "
        "train2014/COCO_train2014_000000000000.jpg = "
        "val2014/COCO_val2014_000000000000.jpg, "
        "train2014/COCO_train2014_000000000001.jpg = "
        "val2014/COCO_val2014_000000000001.jpg",
        f"prepared: {out}",
    ]
    assert prepare.main(given) == 0
    again = capsys.readouterr().out.splitlines()
    assert again == [*first[:-1], f"was prepared: {out}"]


def test_it_describes_the_split_of_lists(tmp_path, capsys):
    source, out = small_lists(tmp_path / "source"), tmp_path / "out"
    assert prepare.main(values(dataset="lists", source=source, out=out)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lists: 8 images, 3 classes, 1.50 labels per image"
    assert lines[1] == "images a class: class 0 4, class 1 4, class 2 4"
    assert lines[2] == "no two images have the same content"
    assert lines[3].startswith(
        "split lists: 3 train, 2 query, 6 database images; sha256 "
    )
    assert lines[4] == "split lists: chance MAP 0.7500, ceiling 1.0000"


def test_it_adds_a_released_split_to_what_is_prepared(tmp_path, capsys):
    labels = {"clouds": [1, 2, 5], "sky": [3, 5]}
    source = layouts.flickr(tmp_path / "source", layouts.noise_photos(5), labels)
    given = {"dataset": "flickr25k", "source": source, "out": tmp_path / "out"}
    assert prepare.main(values(**given)) == 0
    first = capsys.readouterr().out.splitlines()
    assert "images a class: clouds 3, sky 2, lake 0" in first[1]
    assert "1 of 5 images have no label, kept" in first
    shutil.rmtree(source)

    rows = [(f"im{i}.jpg", " ".join("0" * 38)) for i in range(1, 6)]
    for i, start in ((0, "1 0"), (1, "1 0"), (2, "0 1"), (4, "1 1")):
        rows[i] = (rows[i][0], start + rows[i][1][3:])
    splits = {"test": rows[:1], "train": [rows[1], rows[1]], "database": rows[1:]}
    write_lists(tmp_path / "splits", splits)
    given["splits"] = tmp_path / "splits"
    for word in ("prepared", "was prepared"):
        assert prepare.main(values(**given)) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[: len(first) - 1] == first[:-1]
        added = lines[len(first) - 1 :]
        assert added[0].startswith(
            "split flickr25k-released: 2 train, 1 query, 4 database images; sha256 "
        )
        assert added[1:] == [
            "train list: 1 repeated lines, kept",
            "database list: 1 images without any label, kept",
            "split flickr25k-released: chance MAP 0.5000, ceiling 1.0000",
            f"{word}: {given['out']}",
        ]
    (tmp_path / "splits" / "test_img.txt").write_text("im9.jpg\n")
    (tmp_path / "out" / "released.npz").unlink()
    assert prepare.main(values(**given)) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_small_photos_are_stored_at_their_own_size(tmp_path, capsys, rng):
    pixels = rng.integers(0, 256, (6, 10, 3072), dtype=np.uint8)
    batches = {
        name: (pixels[i], list(range(10)))
        for i, name in enumerate(layouts.CIFAR_BATCHES)
    }
    source = layouts.cifar_binary(tmp_path / "source", batches)
    given = {"dataset": "cifar10", "source": source, "out": tmp_path / "out"}
    assert prepare.main(values(**given)) == 0
    stored = open_prepared(tmp_path / "out", "cifar10", 32)
    assert len(stored.image_ids) == 60


def test_help_tells_the_layout_of_every_data_set():
    for name in SCANS:
        assert f"\n{name:<12}" in prepare.__doc__
        assert name in prepare._DATASETS


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"source": ""}, "--source is missing: expected the folder of"),
        ({"dataset": "list"}, "unknown data set 'list'; known: ['cifar10', "),
        ({"source": "/nowhere"}, "/nowhere: no such folder"),
    ],
)
def test_it_refuses_in_a_line(tmp_path, capsys, changes, message):
    given = {"dataset": "lists", "source": tmp_path, "out": tmp_path / "out"}
    assert prepare.main(values(**given | changes)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_it_runs_as_a_program(tmp_path):
    source, out = small_lists(tmp_path / "source"), tmp_path / "out"
    (source / "images/d1.jpg").write_bytes(b"<html>")
    command = [sys.executable, "-W", "error", "-m", "experiments.prepare"]
    given = ["--dataset=lists", f"--source={source}", f"--out={out}"]
    done = subprocess.run([*command, *given], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "prepare: 1 images are not usable:",
        "images/d1.jpg: not a readable image; starts b'<html>'",
    ]
    done = subprocess.run([*command, "--nothing"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prepare: Unknown command line flag 'nothing'\n"


def test_a_dry_run_says_what_is_there_and_writes_nothing(tmp_path, capsys):
    source = small_lists(tmp_path / "source")
    assert prepare.main(values(source=source, dry_run=True)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *("layout", "images", "classes", "split", "notes")
    ]
    assert lines[0] == f"layout: the split files of the field, in {source}"
    (source / "images/d1.jpg").write_bytes(b"<html>")
    assert prepare.main(values(source=source, dry_run=True)) == 2
    assert "1 image not usable: images/d1.jpg" in capsys.readouterr().out
    (source / "images/d1.jpg").unlink()
    assert prepare.main(values(source=source, dry_run=True)) == 2
    assert "1 of 8 listed images are missing" in capsys.readouterr().err
    other = {"source": small_coco(tmp_path / "coco"), "dataset": "coco"}
    assert prepare.main(values(dry_run=True, **other)) == 0
    assert capsys.readouterr().out.startswith("layout: coco, in ")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "coco"}
