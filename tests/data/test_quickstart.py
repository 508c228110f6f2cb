import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import quickstart

PHOTOS = quickstart._photos()


def _settings(**changes):
    sizes = {"num_database": 30, "num_train": 20, "num_queries": 10}
    return Data(**({"name": "quickstart", "image_size": 54} | sizes | changes))


def test_a_scene_is_a_pure_function():
    first = [quickstart.render_scene(0, "query", i, 54) for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        again = pool.map(
            lambda i: quickstart.render_scene(0, "query", i, 54), reversed(range(20))
        )
        for (image, labels), (other, same) in zip(reversed(first), again, strict=True):
            np.testing.assert_array_equal(image, other)
            np.testing.assert_array_equal(labels, same)


def test_scenes_differ_by_seed_split_and_index():
    keys = [(0, "query", 0), (1, "query", 0), (0, "database", 0), (0, "query", 1)]
    images = [quickstart.render_scene(*key, 48)[0].tobytes() for key in keys]
    assert len(set(images)) == len(keys)


def test_labels_agree_with_the_rendered_scene_and_count_one_to_three():
    for index in range(200):
        labels = quickstart.scene_labels(5, "database", index)
        _, drawn = quickstart.render_scene(5, "database", index, 48)
        np.testing.assert_array_equal(labels, drawn)
        assert 1 <= labels.sum() <= 3


@pytest.mark.parametrize("size", [40, 54, 64])
def test_garments_have_a_quarter_each(size):
    for index in range(100):
        generator = np.random.default_rng(index)
        covered = np.zeros((size, size), int)
        garments = quickstart.place_garments(generator, size, 10)
        for g in garments:
            covered[g.top : g.top + g.side, g.left : g.left + g.side] += 1
        assert covered.max() == 1
        assert covered.sum() == sum(g.side**2 for g in garments)
        assert len({g.label for g in garments}) == len(garments)


def test_photos_are_balanced_and_no_photo_is_in_both_pools():
    assert PHOTOS["database"].shape == (10, 1000, 28, 28)
    assert PHOTOS["query"].shape == (10, 200, 28, 28)
    digests = [
        hashlib.sha256(photo.tobytes()).digest()
        for pool in PHOTOS.values()
        for photo in pool.reshape(-1, 28, 28)
    ]
    assert len(set(digests)) == len(digests) == 12_000


def test_chance_leaves_room_above_it():
    labels = [quickstart.scene_labels(0, "database", i) for i in range(2000)]
    labels = np.array(labels, float)
    assert 0.28 < (labels @ labels.T > 0).mean() < 0.42


def test_the_data_set_has_the_sizes_of_its_settings():
    dataset = quickstart.load_quickstart(_settings(), Path("unused"))
    assert [len(x) for x in (dataset.split.database, dataset.split.query)] == [30, 10]
    np.testing.assert_array_equal(dataset.split.train, np.arange(20))
    assert dataset.labels.shape == (40, 10) and dataset.labels.dtype == np.uint8
    image, labels = quickstart.render_scene(0, "query", 3, 54)
    np.testing.assert_array_equal(dataset.read(33), image)
    np.testing.assert_array_equal(dataset.labels[33], labels)
    assert dataset.image_ids[33] == "query/000003"


def test_the_split_is_named_and_its_digest_tells_seeds_apart():
    one, two = (
        quickstart.load_quickstart(_settings(split_seed=seed), Path()).split
        for seed in (0, 1)
    )
    assert one.name == "quickstart-10q-30d-20t-seed0"
    assert one.sha256 != two.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train": 31}, "data.num_train=31 exceeds data.num_database=30"),
        ({"image_size": 256}, "image_size 40..64, got 256"),
        ({"num_queries": 0}, "no query images"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        quickstart.load_quickstart(_settings(**changes), Path())
