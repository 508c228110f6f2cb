"""Small images: enlarged when read, or all of them refused at once."""

import io

import numpy as np
import pytest
from PIL import Image

from cgat_jax.config import Data
from cgat_jax.data import DataError, check_sizes, load_dataset
from cgat_jax.data.images import resize_short_side
from cgat_jax.data.prepare.arrays import save_arrays, seal_of_arrays
from cgat_jax.data.prepare.manifest import read_arrays, read_manifest
from cgat_jax.data.prepare.stored import Records
from cgat_jax.files.io import read_sealed, write_sealed
from tests.data.sources import (
    as_format_1,
    encode,
    in_memory,
    photo,
    small_coco,
    small_lists,
)


def load(root, source="", **changes):
    settings = Data(name="lists", source=str(source), image_size=32, **changes)
    return load_dataset(settings, root, progress=False)


@pytest.fixture
def root(tmp_path):
    """Eight photos of 10 x 12 pixels, one of them larger, one of them smaller."""
    source = small_lists(tmp_path / "source")
    (source / "images/d0.jpg").write_bytes(encode(photo(3, 50, 40)))
    (source / "images/q1.jpg").write_bytes(encode(photo(4, 9, 15)))
    load(tmp_path / "root", source)
    return tmp_path / "root"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("enlarge", [False, True])
def test_the_sizes_are_those_of_the_images_that_are_read(root, old, enlarge):
    if old:
        as_format_1(root)
    dataset = load(root, enlarge=enlarge)
    found = [dataset.read(i).shape[1::-1] for i in range(len(dataset.image_ids))]
    np.testing.assert_array_equal(dataset.sizes(), found)
    assert min(map(min, found)) == (32 if enlarge else 9)


def test_images_of_lists_are_enlarged_as_those_of_other_data_sets(root):
    """Reference: Resize of the published preprocessing, on the stored pixels."""
    stored, large = load(root, enlarge=False), load(root)
    for position in range(8):
        pixels = stored.read(position)
        oracle = resize_short_side(pixels, 32, enlarge=True)
        np.testing.assert_array_equal(large.read(position), oracle)


def test_other_data_sets_are_not_enlarged_where_that_is_asked_for(tmp_path):
    source = small_coco(tmp_path / "source")
    for enlarge, shape in ((True, (64, 80, 3)), (False, (40, 50, 3))):
        settings = Data(
            source=str(source),
            image_size=64,
            num_queries=1,
            num_train=2,
            enlarge=enlarge,
        )
        dataset = load_dataset(settings, tmp_path / "root", progress=False)
        assert dataset.read(0).shape == shape


def test_all_small_images_are_refused_at_once(root):
    with pytest.raises(DataError) as caught:
        check_sizes(load(root, enlarge=False), 12)
    line = str(caught.value)
    assert line.startswith("7 of 8 images are smaller than data.crop_size=12: ")
    assert "images/d3.jpg (10 x 12)" in line and "images/q1.jpg (15 x 9)" in line
    assert "images/d0.jpg" not in line and "\n" not in line
    assert "data.enlarge=True" in line
    check_sizes(load(root, enlarge=False), 9)
    check_sizes(load(root), 32)


def test_strips_in_earlier_folders_are_refused_before_they_are_enlarged(root):
    """Format 2 of before stored them; their sizes are those in the arrays."""
    path = root / "arrays.npz"
    manifest = read_manifest(root)
    arrays = read_arrays(root, manifest)
    arrays["sizes"][3] = 1, 60_000
    save_arrays(path, arrays)
    content = read_sealed(root / "prepared.json")
    write_sealed(root / "prepared.json", content | {"arrays": seal_of_arrays(arrays)})
    with pytest.raises(DataError) as caught:
        check_sizes(load(root), 16)
    name = manifest.image_ids[3]
    start = "1 of 8 images are over 50 megapixels once they are enlarged: "
    assert str(caught.value).startswith(f"{start}{name} (32 x 1920000); crop")


def test_only_ten_are_named_and_only_those_that_are_used_count():
    images = [np.zeros((5 + i, 40, 3), np.uint8) for i in range(30)]
    dataset = in_memory(images)
    with pytest.raises(DataError, match="^15 of 30 images.*image 9 .*, [.]{3};"):
        check_sizes(dataset, 20)
    check_sizes(dataset, 5)


def test_scenes_have_the_size_of_the_settings(tmp_path):
    sizes = {"num_database": 30, "num_train": 20, "num_queries": 10, "image_size": 54}
    settings = Data(name="quickstart", **sizes)
    dataset = load_dataset(settings, tmp_path, progress=False)
    assert dataset.sizes().shape == (40, 2)
    check_sizes(dataset, 54)
    with pytest.raises(DataError, match="40 of 40 images"):
        check_sizes(dataset, 55)


def test_stored_jpegs_have_full_chroma(tmp_path):
    source = small_lists(tmp_path / "source", size=(60, 50))
    load(tmp_path / "root", source)
    manifest = read_manifest(tmp_path / "root")
    assert manifest.storage == "jpeg95-444" and manifest.format == 2
    for i in range(8):
        image = Image.open(io.BytesIO(Records(tmp_path / "root", manifest)[i]))
        assert image.format == "JPEG" and image.size == (32, 38)
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert read_manifest(as_format_1(tmp_path / "root")).storage == "jpeg95-420"
