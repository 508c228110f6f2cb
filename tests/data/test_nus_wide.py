import shutil
from pathlib import Path

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets import nus_wide
from cgat_jax.data.sources.source_index import require_files
from tests.data import layouts
from tests.data.sources import needs_shared_data

LABELS = {
    "sky": [0, 1, 2, 3, 8],
    "mountain": [2, 9],
    "lake": [4, 5],
    "animal": [6],
    "airport": [7, 0],
}
FORMS = [
    {"halves": halves, "flat": flat}
    for halves in (False, True)
    for flat in ("", "name", "number")
]


@pytest.fixture
def source(tmp_path):
    return layouts.nus(tmp_path / "source", layouts.noise_photos(10), LABELS)


def labels_of(source, concept, half=""):
    inner = "TrainTestLabels" if half else "AllLabels"
    return source / "Groundtruth" / inner / f"Labels_{concept}{half}.txt"


def test_classes_are_in_the_released_order():
    """Reference: the specification, by falling frequency."""
    assert nus_wide.CLASS_NAMES == layouts.NUS_LABELS


def test_labels_of_the_images_that_have_any(source):
    listing = nus_wide.scan_nus_wide([source])
    names = {f"c{i % 3}/{i:04d}_{900 + i}.jpg": i for i in range(10)}
    assert list(listing.image_ids) == sorted(n for n, i in names.items() if i != 7)
    for name, row in zip(listing.image_ids, listing.labels, strict=True):
        found = {listing.class_names[column] for column in np.flatnonzero(row)}
        kinds = {kind for kind, rows in LABELS.items() if names[name] in rows}
        assert found == kinds - {"airport"}
    assert listing.notes == ("1 of 10 images have none of the 21 labels, left out",)


@pytest.mark.parametrize("form", FORMS)
def test_every_layout_gives_the_same(source, tmp_path, form):
    other = layouts.nus(tmp_path / "other", layouts.noise_photos(10), LABELS, **form)
    expected, found = (nus_wide.scan_nus_wide([place]) for place in (source, other))
    assert found.image_ids == expected.image_ids
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert [found.read(i) for i in range(9)] == [expected.read(i) for i in range(9)]


@needs_shared_data
def test_real_photos_are_prepared(tmp_path):
    source = layouts.nus(tmp_path / "source", layouts.coco_photos(10), LABELS)
    settings = Data(
        name="nus_wide",
        source=str(source),
        image_size=32,
        num_queries=2,
        num_train=3,
    )
    dataset = load_dataset(settings, tmp_path / "root", progress=False)
    assert {min(dataset.read(i).shape[:2]) for i in range(9)} == {32}
    split = dataset.split
    assert [len(split.query), len(split.train), len(split.database)] == [2, 3, 7]
    assert split.name == "nus_wide-2q-3t-seed0"


def test_the_known_damage_of_the_official_labels_is_mended():
    """Line 78,372 of one file; the same in another line or file is refused."""
    path = Path("Labels_lake_Train.txt")
    notes = []
    assert nus_wide._mended(path, 78_372, "-1130179", notes) == "0"
    assert notes == [
        "Labels_lake_Train.txt, line 78,372 is -1130179, a known damage; read as 0"
    ]
    for line, word in ((78_371, "-1130179"), (78_372, "2")):
        with pytest.raises(DataError, match=f"line {line}: expected 0 or 1"):
            nus_wide._mended(path, line, word, notes)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: (d / "Concepts81.txt").unlink(), "no Concepts81.txt there"),
        (
            lambda d: (d / "Concepts81.txt").write_text("sky\nclouds\n"),
            "Concepts81.txt lacks person, water",
        ),
        (
            lambda d: (d / "ImageList/Imagelist.txt").unlink(),
            "no TrainImagelist.txt there",
        ),
        (lambda d: labels_of(d, "lake").unlink(), "no Labels_lake.txt there"),
        (
            lambda d: labels_of(d, "lake").write_text("0\n" * 9),
            "Labels_lake.txt: 9 rows, but the image list has 10 lines",
        ),
        (
            lambda d: labels_of(d, "lake").write_text("0\n" * 9 + "-1\n"),
            "Labels_lake.txt, line 10: expected 0 or 1, got '-1'",
        ),
        (
            lambda d: (d / "ImageList/Imagelist.txt").write_text("..\\a.jpg\n" * 10),
            "Imagelist.txt, line 1: expected a path below .*'../a.jpg'",
        ),
        (
            lambda d: (d / "ImageList/Imagelist.txt").write_text(".\n" * 10),
            "Imagelist.txt, line 1: expected a path below .*'.'",
        ),
        (
            lambda d: (d / "ImageList/Imagelist.txt").write_text("a\\b.jpg\n" * 10),
            "the image lists hold a/b.jpg 10 times",
        ),
        (
            lambda d: shutil.rmtree(d / "Flickr"),
            "0000_900.jpg is neither there, nor in the folders below",
        ),
        (
            lambda d: (d / "Flickr/c0/0000_900.jpg").unlink(),
            "1 of 9 listed images are missing: c0/0000_900.jpg$",
        ),
        (
            lambda d: [labels_of(d, n).write_text("0\n" * 10) for n in LABELS],
            "no image has one of the 21 labels",
        ),
    ],
)
def test_a_bad_source_is_refused_in_a_line(source, damage, message):
    damage(source)
    with pytest.raises(DataError, match=message) as caught:
        require_files(str(source), nus_wide.scan_nus_wide([source]))
    assert "\n" not in str(caught.value)
