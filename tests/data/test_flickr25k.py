import zipfile

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets.flickr25k import CLASS_NAMES, scan_flickr25k
from cgat_jax.data.sources.source_index import require_files
from tests.data import layouts
from tests.data.sources import needs_shared_data

LABELS = {"clouds": [2, 10, 3], "clouds_r1": [3], "female": [1], "dog": [12]}


@pytest.fixture
def source(tmp_path):
    return layouts.flickr(tmp_path / "source", layouts.noise_photos(12), LABELS)


def load(source, root, **changes):
    sizes = {"num_queries": 3, "num_train": 4, "image_size": 32} | changes
    settings = Data(name="flickr25k", source=str(source), **sizes)
    return load_dataset(settings, root, progress=False)


def test_labels_are_24_potential_and_14_relevant_ones_in_the_released_order():
    """Reference: the order in the specification, recovered from class counts."""
    order = """clouds sky lake tree indoor female_r1 portrait dog river_r1 flower_r1
    animals car sea night transport sunset people bird_r1 flower clouds_r1 food baby_r1
    sea_r1 night_r1 structures dog_r1 car_r1 water baby male_r1 plant_life portrait_r1
    tree_r1 bird people_r1 male river female"""
    assert order.split() == list(CLASS_NAMES)
    assert sorted(CLASS_NAMES) == sorted(layouts.FLICKR_LABELS)
    assert len(layouts.FLICKR_POTENTIAL) == 24 and len(layouts.FLICKR_RELEVANT) == 14


def test_images_are_in_numeric_order_and_carry_their_labels(source):
    listing = scan_flickr25k([source])
    assert listing.image_ids == tuple(f"im{i}.jpg" for i in range(1, 13))
    for i, row in enumerate(listing.labels, 1):
        found = {CLASS_NAMES[column] for column in np.flatnonzero(row)}
        assert found == {name for name, numbers in LABELS.items() if i in numbers}
    assert listing.notes == ("7 of 12 images have no label, kept",)


def test_annotations_may_be_spread_over_folders_and_archives(source, tmp_path):
    photos = layouts.noise_photos(12)
    spread = layouts.flickr(tmp_path / "spread", photos, LABELS, together=False)
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    with zipfile.ZipFile(zipped / "mirflickr25k.zip", "w") as archive:
        for path in (source / "mirflickr").rglob("*.*"):
            archive.write(path, path.relative_to(source))
    with zipfile.ZipFile(zipped / "mirflickr25k_annotations_v080.zip", "w") as archive:
        for path in (source / "annotations").iterdir():
            archive.write(path, path.name)
    loaded = [
        load(place, tmp_path / f"root {i}")
        for i, place in enumerate((source, spread, zipped))
    ]
    assert len({dataset.split.sha256 for dataset in loaded}) == 1
    for dataset in loaded:
        np.testing.assert_array_equal(dataset.labels, loaded[0].labels)
        np.testing.assert_array_equal(dataset.read(7), loaded[0].read(7))


@needs_shared_data
def test_real_photos_are_prepared_and_enlarged(tmp_path):
    source = layouts.flickr(tmp_path / "source", layouts.coco_photos(12), LABELS)
    dataset = load(source, tmp_path / "root")
    assert {min(dataset.read(i).shape[:2]) for i in range(12)} == {32}
    split = dataset.split
    assert [len(split.query), len(split.train), len(split.database)] == [3, 4, 9]
    assert split.name == "flickr25k-3q-4t-seed0"


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: (d / "mirflickr/im1.jpg").unlink(), "no im1.jpg there"),
        (
            lambda d: (d / "mirflickr/im7.jpg").unlink(),
            "1 of 12 listed images are missing: im7.jpg$",
        ),
        (
            lambda d: [(d / f"mirflickr/im{i}.jpg").unlink() for i in (11, 12)],
            "dog.txt, entry 1: expected the number of a photo, 1 to 10, got '12'",
        ),
        (lambda d: (d / "annotations/food.txt").unlink(), "no food.txt there"),
        (
            lambda d: (d / "annotations/sky.txt").write_text("3\nim4\n"),
            "sky.txt, entry 2: expected the number of a photo, 1 to 12, got 'im4'",
        ),
        (
            lambda d: (d / "annotations/sky.txt").write_text("0\n"),
            "sky.txt, entry 1: .* got '0'",
        ),
        (
            lambda d: (d / "annotations/sky.txt").write_text("9" * 5_000),
            "sky.txt, entry 1: expected the number of a photo",
        ),
        (lambda d: (d / "annotations/sky.txt").write_bytes(b"\xff"), "not UTF-8"),
    ],
)
def test_a_bad_source_is_refused_in_a_line(source, damage, message):
    damage(source)
    with pytest.raises(DataError, match=message) as caught:
        require_files(str(source), scan_flickr25k([source]))
    assert "\n" not in str(caught.value)
