import collections
import json
import zipfile

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets.coco import scan_coco
from cgat_jax.data.sources.source_index import require_files
from tests.data.sources import SHARED, needs_shared_data, small_coco


def annotations(source, folder="train2014"):
    return source / "annotations" / f"instances_{folder}.json"


def change(path, key, value):
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def test_labels_classes_and_images(tmp_path):
    listing = scan_coco([small_coco(tmp_path / "source")])
    assert listing.class_names == ("apple", "bus", "person", "zebra")
    assert listing.image_ids == (
        "train2014/COCO_train2014_000000000000.jpg",
        "train2014/COCO_train2014_000000000001.jpg",
        "val2014/COCO_val2014_000000000000.jpg",
        "val2014/COCO_val2014_000000000001.jpg",
    )
    np.testing.assert_array_equal(listing.labels, [[0, 0, 1, 1], [1, 0, 0, 0]] * 2)
    assert listing.notes == ("2 of 6 images have no annotation, left out",)


def test_smaller_photos_are_enlarged_when_read(tmp_path):
    """The photos are 50 x 40: at 48 they grow, at 20 they are stored smaller."""
    source = small_coco(tmp_path / "source")
    for size, width in ((48, 60), (20, 25)):
        settings = Data(source=str(source), image_size=size, num_queries=1, num_train=2)
        dataset = load_dataset(settings, tmp_path / str(size), progress=False)
        assert {dataset.read(i).shape for i in range(4)} == {(size, width, 3)}


def test_the_official_archives_give_the_same(tmp_path):
    source, zipped = small_coco(tmp_path / "source"), tmp_path / "zipped"
    zipped.mkdir()
    for folder in (*FOLDERS, "annotations"):
        with zipfile.ZipFile(zipped / f"{folder}.zip", "w") as archive:
            for path in sorted((source / folder).iterdir()):
                archive.write(path, path.relative_to(source))
    loaded = [
        load_dataset(
            Data(source=str(place), image_size=30, num_queries=1, num_train=2),
            tmp_path / f"root {place.name}",
            progress=False,
        )
        for place in (source, zipped)
    ]
    assert loaded[0].split.sha256 == loaded[1].split.sha256
    np.testing.assert_array_equal(loaded[0].labels, loaded[1].labels)
    for position in range(4):
        images = [dataset.read(position) for dataset in loaded]
        np.testing.assert_array_equal(*images)


@needs_shared_data
def test_shared_photos_have_the_labels_of_an_independent_count(tmp_path):
    source = SHARED / "coco-mini"
    expected = collections.defaultdict(set)
    for folder in ("train2014", "val2014"):
        content = json.loads(annotations(source, folder).read_text())
        kinds = {kind["id"]: kind["name"] for kind in content["categories"]}
        for image in content["images"]:
            for item in content["annotations"]:
                if item["image_id"] == image["id"]:
                    path = f"{folder}/{image['file_name']}"
                    expected[path].add(kinds[item["category_id"]])
    settings = Data(source=str(source), num_queries=50, num_train=100, image_size=64)
    dataset = load_dataset(settings, tmp_path / "root", progress=False)

    assert len(dataset.labels) == 254
    assert list(dataset.class_names) == sorted(kinds.values())
    found = {
        name: {dataset.class_names[column] for column in np.flatnonzero(row)}
        for name, row in zip(dataset.image_ids, dataset.labels, strict=True)
    }
    assert found == expected
    assert dataset.read(0).shape[:2] in {(64, 85), (85, 64), (64, 96)}


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: annotations(d).unlink(), "no instances_train2014.json there"),
        (lambda d: annotations(d).write_text("{"), "not COCO annotations"),
        (lambda d: annotations(d).write_text("[]"), "not COCO annotations"),
        (lambda d: change(annotations(d), "images", []), "not COCO annotations"),
        (
            lambda d: annotations(d).write_text("[" * 100_000 + "]" * 100_000),
            "instances_train2014.json: not COCO annotations .nested too deep",
        ),
        (
            lambda d: change(
                annotations(d),
                "categories",
                [{"id": 3, "name": 4}, *({"id": i, "name": "a"} for i in (5, 7, 90))],
            ),
            "instances_train2014.json: not COCO annotations .*without a name",
        ),
        (
            lambda d: change(
                annotations(d), "images", [{"id": 0, "file_name": "../a"}]
            ),
            "expected a file name, got '../a'",
        ),
        (
            lambda d: [change(annotations(d, f), "annotations", []) for f in FOLDERS],
            "no image has an annotation",
        ),
        (
            lambda d: change(
                annotations(d),
                "categories",
                [{"id": i, "name": str(i)} for i in (3, 5, 7)],
            ),
            "differ in categories",
        ),
        (
            lambda d: (d / "val2014" / "COCO_val2014_000000000001.jpg").unlink(),
            "1 of 4 listed images are missing: val2014/COCO_val2014_000000000001.jpg",
        ),
        (lambda d: (d / "val2014").rename(d / "val"), "no val2014 there"),
    ],
)
def test_a_bad_source_is_refused_in_a_line(tmp_path, damage, message):
    source = small_coco(tmp_path / "source")
    damage(source)
    with pytest.raises(DataError, match=message) as caught:
        require_files(str(source), scan_coco([source]))
    assert "\n" not in str(caught.value)


FOLDERS = ("train2014", "val2014")
