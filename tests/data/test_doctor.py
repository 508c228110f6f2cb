"""A set with the defects of the released FLICKR lists, and more, in small."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

from cgat_jax.data import SCANS
from cgat_jax.data.checks import doctor
from cgat_jax.data.dataset import make_split
from cgat_jax.data.datasets.flickr25k import CLASS_NAMES
from cgat_jax.data.prepare.prepared import prepare as fill
from cgat_jax.data.sources import known
from cgat_jax.data.sources.source_index import SourceIndex
from experiments import check_data, prepare
from tests.data import layouts
from tests.data.sources import (
    encode,
    photo,
    small_lists,
    write_images,
    write_lists,
)


def run(capsys, **given):
    parsed = flags.FlagValues()
    check_data.define_flags(parsed)
    parsed(["check_data", *(f"--{key}={value}" for key, value in given.items())])
    code = check_data.main(parsed)
    return code, capsys.readouterr().out.splitlines()


def row(*columns):
    return " ".join(str(int(i in columns)) for i in range(38))


@pytest.fixture
def flickr_like(tmp_path):
    """30 database images, 6 queries; every label in some and not in all of each list.

    As the released lists, it has label-less rows in each list and training images
    that are repeated twice, three and four times.
    """
    database = [
        (f"im{i}.jpg", row(i % 38, (i + 9) % 38, (i + 19) % 38)) for i in range(30)
    ]
    database[4] = (database[4][0], row())
    database[5] = (database[5][0], row())
    query = [(f"q{i}.jpg", row(*range(i % 2, 38, 2))) for i in range(5)]
    query.append(("q5.jpg", row()))
    repeated = [database[0]] * 2 + [database[1]] * 2 + [database[2]] * 3
    train = [*database[6:30], database[4], *repeated, *[database[3]] * 4]
    folder = tmp_path / "lists"
    write_lists(folder, {"test": query, "train": train, "database": database})
    for i, (name, _) in enumerate(database + query):
        (folder / name).write_bytes(encode(photo(i, 12, 10)))
    return folder


def test_the_defects_of_the_released_flickr_lists_are_found(flickr_like, capsys):
    code, lines = run(capsys, data=flickr_like, dataset="flickr25k")
    assert code == 1
    expected = [
        "defect: 36 images, and 25,000 are known",
        "defect: 3 images without any label: im4.jpg, q5.jpg, im5.jpg",
        "note: split flickr25k-released: train list: 29 different images in 36 lines "
        "(2 twice, 1 three times, 1 four times)",
        "note: split flickr25k-released: train list: 1 of 36 rows without any label: "
        "im4.jpg",
        "defect: split flickr25k-released: query list: 1 of 6 rows without any label: "
        "q5.jpg",
        "note: split flickr25k-released: database list: 2 of 30 rows without any "
        "label: im4.jpg, im5.jpg",
        "note: split flickr25k-released: 6 query images, and the paper says 1,000",
        "note: split flickr25k-released: 30 database images, and the paper says 24,000",
        "note: split flickr25k-released: 36 training images, and the paper says 5,000",
        "defect: split flickr25k-released: lines, rows without label and repeats are "
        "not those of the lists as released",
        "defect: split flickr25k-released: 1 query without a label in common with the "
        "database: no ranking can score over 83.3 %",
        "note: 36 images, all there, readable and whole",
        "note: no two images have the same content",
    ]
    assert set(expected) <= set(lines)
    (bounds,) = (line for line in lines if "chance MAP" in line)
    assert bounds.endswith("ceiling 0.8333")
    assert lines[-1] == f"{sum(line.startswith('defect') for line in lines)} defects"


def test_the_released_lists_are_recognized_by_their_numbers(rng):
    """Their sizes, label-less rows and repeats, on label rows that are drawn."""
    facts = known.KNOWN["flickr25k"]
    queries, database, _ = facts.released
    bare_queries, bare_database, bare_train = facts.released_unlabeled
    rows = (rng.random((200, 38)) < 0.124).astype(np.uint8)
    rows[:, 0] |= ~rows.any(axis=1)
    labels = rows[rng.integers(0, 200, queries + database)]
    labels[:bare_queries] = 0
    labels[queries : queries + bare_database] = 0
    start = queries + bare_database - bare_train
    distinct = np.arange(start, start + facts.released_distinct)
    twice, thrice, four = distinct[100:555], distinct[555:578], distinct[578:579]
    train = [distinct, twice, np.tile(thrice, 2), np.tile(four, 3)]
    names = tuple(f"im{i}.jpg" for i in range(len(labels)))
    split = make_split(
        "flickr25k-released",
        names,
        train=np.concatenate(train),
        query=np.arange(queries),
        database=np.arange(queries, len(labels)),
    )
    classes = tuple(str(column) for column in range(38))
    listing = SourceIndex(
        name="flickr25k", class_names=classes, image_ids=names, labels=labels, parts={}
    )
    found = {f.text: f.defect for f in doctor.check_split(listing, split, facts)}
    assert {
        "train list: 4,496 different images in 5,000 lines "
        "(455 twice, 23 three times, 1 four times)": False,
        "1,700 query images, and the paper says 1,000": False,
        "23,300 database images, and the paper says 24,000": False,
        "38 queries without a label in common with the database: no ranking can score "
        "over 97.8 %": True,
        "chance is not the known 0.533": True,
    }.items() <= found.items()
    bare = {text.split(" without")[0]: defect for text, defect in found.items()}
    assert {
        "train list: 95 of 5,000 rows": False,
        "query list: 38 of 1,700 rows": True,
        "database list: 381 of 23,300 rows": False,
    }.items() <= bare.items()
    as_released = "lines, rows without label and repeats are those of the lists as "
    assert not found[as_released + "released"]
    labels[start] = 1
    found = [f.text for f in doctor.check_split(listing, split, facts) if f.defect]
    assert as_released.replace(" are ", " are not ") + "released" in found


DAMAGE = [
    (
        "1 of 36 images missing: im9.jpg",
        lambda d: (d / "im9.jpg").unlink(),
    ),
    (
        "1 of 36 images unreadable: im9.jpg: not a readable image",
        lambda d: (d / "im9.jpg").write_bytes(b"<html>"),
    ),
    (
        "1 of 36 images unreadable: im9.jpg: the file is empty",
        lambda d: (d / "im9.jpg").write_bytes(b""),
    ),
    (
        "1 of 36 images truncated or damaged: im9.jpg: damaged, cut off",
        lambda d: (d / "im9.jpg").write_bytes((d / "im9.jpg").read_bytes()[:-60]),
    ),
    (
        "1 of 36 images oversized: im9.jpg: over 50 MB",
        lambda d: os.truncate(d / "im9.jpg", 60 * 10**6),
    ),
    (
        "1 of 36 images oversized: im9.jpg: 9000 x 9000 is over 50 megapixels",
        lambda d: Image.new("1", (9000, 9000)).save(d / "im9.jpg", "PNG"),
    ),
    (
        "1 group of copies with different labels: im9.jpg = q1.jpg",
        lambda d: shutil.copy(d / "im9.jpg", d / "q1.jpg"),
    ),
    (
        "split flickr25k-released: 1 query with a copy in the database list: q1.jpg",
        lambda d: shutil.copy(d / "im9.jpg", d / "q1.jpg"),
    ),
    (
        "split flickr25k-released: 1 query image also in the database list: im0.jpg",
        lambda d: repeat_line(d, "database", "test"),
    ),
    (
        "split flickr25k-released: 1 query image also in the train list: im6.jpg",
        lambda d: repeat_line(d, "train", "test"),
    ),
    (
        "split flickr25k-released: query list: 6 different images in 7 lines (1 twice)",
        lambda d: repeat_line(d, "test", "test"),
    ),
    (
        "1 image with two different label rows: im6.jpg",
        lambda d: relabel(d, "train", 0, row(0, 1, 2)),
    ),
]
NOTED = [
    (
        "1 copy of other images: im9.jpg = im10.jpg",
        lambda d: shutil.copy(d / "im9.jpg", d / "im10.jpg"),
    ),
    (
        "split flickr25k-released: 1 training image not in the database: q0.jpg",
        lambda d: repeat_line(d, "test", "train"),
    ),
    ("1 label that no image has: class 7", lambda d: constant(d, 7, "0")),
    ("1 label that every image has: class 7", lambda d: constant(d, 7, "1")),
    (
        "split flickr25k-released: 1 label that no query has: class 7",
        lambda d: constant(d, 7, "0", ["test"]),
    ),
]


def repeat_line(folder, source, target):
    """The first line of one list is added to another."""
    for kind in ("img", "label"):
        first = (folder / f"{source}_{kind}.txt").read_text().splitlines()[0]
        with (folder / f"{target}_{kind}.txt").open("a") as file:
            file.write(first + "\n")


def relabel(folder, part, line, text):
    path = folder / f"{part}_label.txt"
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


def constant(folder, column, value, parts=("train", "test", "database")):
    for part in parts:
        path = folder / f"{part}_label.txt"
        rows = [line.split() for line in path.read_text().splitlines()]
        for words in rows:
            words[column] = value
        path.write_text("".join(" ".join(words) + "\n" for words in rows))


@pytest.mark.parametrize(
    "kind, expected, damage",
    [("defect", *case) for case in DAMAGE] + [("note", *case) for case in NOTED],
)
def test_what_is_planted_is_found_and_only_then(
    flickr_like, capsys, kind, expected, damage
):
    before = run(capsys, data=flickr_like, dataset="flickr25k")[1]
    assert not any(expected in line for line in before)
    damage(flickr_like)
    code, after = run(capsys, data=flickr_like, dataset="flickr25k")
    assert code == 1
    assert [line for line in after if line.startswith(f"{kind}: {expected}")]


def test_a_query_is_no_copy_of_itself(flickr_like, capsys):
    shutil.copy(flickr_like / "im9.jpg", flickr_like / "im10.jpg")
    repeat_line(flickr_like, "database", "test")
    lines = run(capsys, data=flickr_like)[1]
    assert "note: 1 copy of other images: im9.jpg = im10.jpg" in lines
    assert any("1 query image also in the database list" in line for line in lines)
    assert not any("with a copy in" in line for line in lines)


SMALL = ", ".join(
    f"images/{name}.jpg (10 x 12)"
    for name in ("d3", "d4", "d5", "q0", "q1", "d0", "d1", "d2")
)


def test_a_sound_set_has_no_defects(tmp_path, capsys):
    source = small_lists(tmp_path / "source")
    code, lines = run(capsys, data=source)
    assert code == 0
    large = run(capsys, data=source, crop_size=10)
    assert large == (0, [line for line in lines if "smaller than" not in line])
    assert lines == [
        "note: lists: 8 images, 3 classes, 1.50 labels per image",
        "note: 8 images, all there, readable and whole",
        f"note: 8 of 8 images smaller than 224 pixels, enlarged when read: {SMALL}",
        "note: split lists: chance MAP 0.7500, ceiling 1.0000",
        "note: no two images have the same content",
        "no defects",
    ]


@pytest.fixture
def prepared_flickr(tmp_path):
    data = layouts.noise_photos(12)
    labels = {name: [i % 12 + 1] for i, name in enumerate(CLASS_NAMES)}
    source = layouts.flickr(tmp_path / "source", data, labels)
    parsed = flags.FlagValues()
    prepare.define_flags(parsed)
    given = {"dataset": "flickr25k", "source": source, "out": tmp_path / "out"}
    parsed(["prepare", *(f"--{key}={value}" for key, value in given.items())])
    assert prepare.main(parsed) == 0
    return tmp_path / "out"


def test_a_prepared_folder_is_checked(prepared_flickr, capsys):
    code, lines = run(capsys, data=prepared_flickr)
    assert "note: 12 images, all there, readable and whole" in lines
    assert "defect: 12 images, and 25,000 are known" in lines
    assert code == 1
    (path,) = prepared_flickr.rglob("*.array_record*")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xd8\xff") + 300
    content[at : at + 200] = bytes(200)
    path.write_bytes(content)
    code, lines = run(capsys, data=prepared_flickr)
    (line,) = (line for line in lines if "12 images truncated or damaged" in line)
    assert "damaged: im1.jpg (" in line  # by name, not by position
    assert f"defect: {path}: not as it was written" in lines


def test_small_images_of_prepared_data_are_named(prepared_flickr, capsys):
    _, lines = run(capsys, data=prepared_flickr)
    (line,) = (line for line in lines if "smaller than" in line)
    assert line.startswith(
        "note: 12 of 12 images smaller than 224 pixels, enlarged when read: "
        "im1.jpg (10 x 12), im2.jpg (10 x 12)"
    )
    _, lines = run(capsys, data=prepared_flickr, crop_size=10)
    assert not [line for line in lines if "smaller than" in line]


@pytest.mark.parametrize(
    "row_of, expected",
    [
        (lambda i: "0 0 0", "split lists: no image has a label, so that every MAP is"),
        (lambda i: "1 0 1", "split lists: every database image is relevant to every"),
        (lambda i: "1 1 0" if i else "0 0 1", "split lists: all training images share"),
    ],
)
@pytest.mark.parametrize("ready", [False, True])
def test_degenerate_labels_are_defects(tmp_path, capsys, row_of, expected, ready):
    source = small_lists(tmp_path / "source")
    names = [f"images/d{i}.jpg" for i in range(6)]
    rows = [(name, row_of(i)) for i, name in enumerate(names)]
    queries = [("images/q0.jpg", row_of(1)), ("images/q1.jpg", row_of(0))]
    lists = {"train": rows[3:], "test": queries, "database": rows}
    write_lists(source, lists)
    folder = prepared_lists(source, tmp_path / "root") if ready else source
    code, lines = run(capsys, data=folder)
    assert code == 1
    assert [line for line in lines if line.startswith(f"defect: {expected}")]


@pytest.mark.parametrize("ready", [False, True])
def test_equal_images_are_a_defect(tmp_path, capsys, ready):
    source = small_lists(tmp_path / "source")
    for path in (source / "images").iterdir():
        path.write_bytes(encode(photo(0, 12, 10)))
    folder = prepared_lists(source, tmp_path / "root") if ready else source
    code, lines = run(capsys, data=folder)
    assert code == 1
    assert [line for line in lines if "defect: all images have the same cont" in line]


def prepared_lists(source, root):
    fill(SCANS["lists"], source, root, image_size=32, threads=2, progress=False)
    return root


def test_original_files_are_checked_where_they_are(tmp_path, capsys):
    source = layouts.flickr(tmp_path / "source", layouts.noise_photos(12), {"sky": [1]})
    (source / "mirflickr/im7.jpg").unlink()
    code, lines = run(capsys, data=source, dataset="flickr25k")
    assert code == 1
    assert "defect: 1 of 12 images missing: im7.jpg" in lines
    assert "note: 37 labels that no image has: " in "\n".join(lines)
    assert list(tmp_path.iterdir()) == [source]


def test_photos_are_checked_where_they_are(tmp_path, capsys):
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(20)]
    write_images(tmp_path / "photos", [*names, "cow/1.jpg"])
    code, lines = run(capsys, data=tmp_path / "photos", crop_size=10)
    assert (code, lines) == (
        0,
        [
            "note: photos: 41 images, 3 classes, 1.00 labels per image",
            "note: layout: a folder a class (3)",
            "note: 41 images, all there, readable and whole",
            "note: 1 class with a single image, which finds nothing of its class as a "
            "query, or is never one: cow",
            "note: split photos-4q-37t-seed0: 1 label that no query has: cow",
            "note: split photos-4q-37t-seed0: chance MAP 0.4865, ceiling 1.0000",
            "note: no two images have the same content",
            "no defects",
        ],
    )
    _, lines = run(capsys, data=tmp_path / "photos", crop_size=224)
    (line,) = (line for line in lines if "smaller than" in line)
    assert "--crop_size; experiments/configs/photos.py chooses its own" in line
    shutil.copy(tmp_path / "photos/cat/0.jpg", tmp_path / "photos/dog/copy.jpg")
    (tmp_path / "photos/dog/3.jpg").write_bytes(b"")
    code, lines = run(capsys, data=tmp_path / "photos", crop_size=10)
    assert code == 1
    assert "defect: 1 of 42 images unreadable: dog/3.jpg: the file is empty" in lines
    assert "note: 1 copy of other images: cat/0.jpg = dog/copy.jpg" in lines
    text = "1 group of copies with different labels: cat/0.jpg = dog/copy.jpg"
    assert f"defect: {text}" in lines
    assert lines[-1] == "2 defects"
    assert not any("with a copy in" in line for line in lines)  # none is drawn


def test_the_label_counts_of_cifar_are_known(rng):
    labels = np.repeat(np.eye(10, dtype=np.uint8), 6_000, axis=0)
    names = tuple(str(i) for i in range(60_000))
    classes = tuple(f"c{i}" for i in range(10))
    listing = SourceIndex(
        name="cifar10", class_names=classes, image_ids=names, labels=labels, parts={}
    )
    facts = known.KNOWN["cifar10"]
    (found,) = doctor.check_labels(listing, facts)
    assert found == (False, "the label counts are the known ones")
    labels[0] = np.eye(10, dtype=np.uint8)[3]
    (found,) = doctor.check_labels(listing, facts)
    text = "label counts differ from the known ones: c0 5,999 (6,000), c3 6,001 (6,000)"
    assert found == (True, text)


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "--data is missing: expected a folder"),
        ({"data": "/nowhere"}, "/nowhere: no such folder"),
        ({"data": "{tmp}"}, "no photos with labels there; expected a folder a class"),
        ({"data": "{tmp}", "dataset": "coc"}, "unknown data set 'coc'; known:"),
        ({"data": "{tmp}", "dataset": "coco"}, "no train2014 there"),
    ],
)
def test_it_refuses_in_a_line(tmp_path, capsys, given, message):
    parsed = flags.FlagValues()
    check_data.define_flags(parsed)
    given = {key: text.format(tmp=tmp_path) for key, text in given.items()}
    parsed(["check_data", *(f"--{key}={value}" for key, value in given.items())])
    assert check_data.main(parsed) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_it_runs_as_a_program(prepared_flickr):
    command = [sys.executable, "-W", "error", "-m", "experiments.check_data"]
    given = [*command, f"--data={prepared_flickr}"]
    done = subprocess.run(given, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "1 defect"
