"""Indexes of real photos: MS-COCO's, CIFAR-10's, and the quickstart's scenes."""

import itertools
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cgat_jax import Index
from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.search.building import add_photos
from cgat_jax.search.engines import EngineSettings
from cgat_jax.search.folder import create_folder
from tests.data.sources import SHARED, needs_shared_data
from tests.search.networks import network


def coco(folder):
    return SHARED / "coco-mini"


def cifar(folder):
    with tarfile.open(SHARED / "cifar10.tar.xz") as archive:
        photos = (x for x in archive if x.name.endswith((".jpg", ".jpeg")))
        for member in itertools.islice(photos, 300):
            archive.extract(member, folder, filter="data")
    return folder


@needs_shared_data
@pytest.mark.parametrize(("photos", "count"), [(coco, 256), (cifar, 300)])
def test_each_photo_finds_itself(tmp_path, photos, count):
    create_folder(tmp_path / "index", network(), EngineSettings())
    index = Index.load(tmp_path / "index")
    folder = photos(tmp_path / "photos")
    built = add_photos(index, folder)
    assert len(index) == built.added == count and not built.failed
    check_against_loops(index, list(index.catalogue.codes())[0][1])
    index.close()


def test_scenes_find_what_loops_find(tmp_path):
    sizes = {"num_queries": 10, "num_train": 20, "num_database": 200}
    settings = Data(name="quickstart", image_size=40, **sizes)
    data = load_dataset(settings, Path(tmp_path), progress=False)
    images = [data.read(int(i)) for i in data.split.database]
    index = Index.build(network(), images)
    check_against_loops(index, list(index.catalogue.codes())[0][1])
    queries = [data.read(int(i)) for i in data.split.query]
    codes = network().encode(queries), network().encode(images)
    expected = (codes[0][:, None] != codes[1][None]).sum(axis=-1)
    found = index.search(queries, k=200)
    np.testing.assert_array_equal(found.distances, np.sort(expected, axis=1))


def check_against_loops(index, packed):
    """Every item's code finds the item, first of those that have the same code."""
    found = index.search_packed(packed, len(packed))
    numbers = np.concatenate([block[0] for block in index.catalogue.codes()])
    differing = np.bitwise_count(packed[:, None] ^ packed[None]).sum(axis=-1)
    order = np.argsort(differing, axis=1, kind="stable")
    np.testing.assert_array_equal(found.numbers, numbers[order])
