import gzip
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data.datasets import quickstart
from cgat_jax.errors import InputError
from experiments import make_quickstart_photos

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


def test_no_crop_of_48_removes_a_garment_of_54():
    for index in range(300):
        generator = np.random.default_rng(index)
        for g in quickstart.place_garments(generator, 54, 1000):
            photo = PHOTOS["database"][g.label, g.photo] / np.float32(255)
            drawn = np.zeros((54, 54))
            square = np.s_[g.top : g.top + g.side, g.left : g.left + g.side]
            drawn[square] = quickstart._resample(photo[..., None], g.side)[..., 0]
            corners = [(top, left) for top in (0, 6) for left in (0, 6)]
            kept = [drawn[y : y + 48, x : x + 48].sum() for y, x in corners]
            assert min(kept) > 0.15 * drawn.sum()


def test_garments_show_on_the_background():
    contrasts = []
    for index in range(100):
        image, _ = quickstart.render_scene(0, "database", index, 54)
        garments = quickstart.place_garments(
            quickstart._generator(0, "database", index), 54, 1000
        )
        inside = np.zeros((54, 54), bool)
        for g in garments:
            photo = PHOTOS["database"][g.label, g.photo] / np.float32(255)
            square = np.s_[g.top : g.top + g.side, g.left : g.left + g.side]
            inside[square] |= (
                quickstart._resample(photo[..., None], g.side)[..., 0] > 0.3
            )
        color, ground = image[inside].mean(0), image[~inside].mean(0)
        contrasts.append(np.abs(color - ground).max())
    assert np.median(contrasts) > 40


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
        ({"image_size": 39}, "image_size 40..64, got 39"),
        ({"image_size": 65}, "image_size 40..64, got 65"),
        ({"num_queries": 0}, "no query images"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        quickstart.load_quickstart(_settings(**changes), Path())


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="got 'train'"):
        quickstart.render_scene(0, "train", 0, 54)


def test_the_packed_file_is_the_one_its_readme_describes():
    digest = hashlib.sha256(quickstart.PHOTOS.read_bytes()).hexdigest()
    assert digest in (quickstart.PHOTOS.parent / "README.md").read_text()


def _make_photos(*options):
    program = [sys.executable, "-m", "experiments.make_quickstart_photos"]
    return subprocess.run([*program, *options], capture_output=True, text=True)


def _write_idx(path, array):
    shape = np.array(array.shape, ">u4").tobytes()
    data = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
    path.write_bytes(gzip.compress(data, 1))


def test_the_photos_program_chooses_distinct_photos_in_the_same_bytes(tmp_path):
    count = 13_000
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, :2] = np.arange(count, dtype=">u2").view(np.uint8).reshape(-1, 2)
    images[100:200] = images[:100]  # the same photos again, of the same classes
    labels = (np.arange(count) % 10).astype(np.uint8)
    for part, rows in (("train", np.s_[:10_000]), ("t10k", np.s_[10_000:])):
        _write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images[rows])
        _write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels[rows])
    outputs = [tmp_path / name for name in ("one.npz", "two.npz")]
    for out in outputs:
        done = _make_photos(f"--source={tmp_path}", f"--out={out}")
        assert done.returncode == 0, done.stderr
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with np.load(outputs[0]) as made:
        pools = [made["database"], made["query"]]
    assert [pool.shape for pool in pools] == [(10, n, 28, 28) for n in (1000, 200)]
    numbers = [pool[..., 0, 0].astype(int) * 256 + pool[..., 0, 1] for pool in pools]
    assert len(np.unique(np.concatenate(numbers, axis=1))) == 12_000
    for pool in numbers:
        np.testing.assert_array_equal(pool % 10, np.arange(10)[:, None] + 0 * pool)


def test_the_photos_program_names_what_is_missing(tmp_path):
    done = _make_photos(f"--source={tmp_path}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "missing ['train-images-idx3-ubyte.gz'" in done.stderr


def _source_of_few_photos(folder):
    for part in ("train", "t10k"):
        photos = np.zeros((9, 28, 28), np.uint8)
        _write_idx(folder / f"{part}-images-idx3-ubyte.gz", photos)
        _write_idx(folder / f"{part}-labels-idx1-ubyte.gz", photos[:, 0, 0])
    return folder


DAMAGES = {
    "no gz file": lambda content: b"mine",
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:30] + bytes([content[30] ^ 8]) + content[31:],
    "another idx file": lambda content: gzip.compress(b"\0\0\x09\1\0\0\0\1a"),
    "a head alone": lambda content: gzip.compress(b"\0\0\x08\3\0\0"),
    "few bytes": lambda content: gzip.compress(b"\0\0"),
    "a number too many": lambda content: gzip.compress(gzip.decompress(content) + b"a"),
    "other shapes": lambda content: gzip.compress(b"\0\0\x08\1\0\0\0\1a"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_damaged_file_of_the_photos_program_is_one_line(tmp_path, damage, kind):
    path = _source_of_few_photos(tmp_path) / f"train-{kind}-ubyte.gz"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(InputError) as caught:
        make_quickstart_photos.read_source(tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "train-") in text and "\n" not in text, text


def test_photos_that_are_too_few_or_of_other_classes_are_named(tmp_path):
    images, labels = make_quickstart_photos.read_source(_source_of_few_photos(tmp_path))
    with pytest.raises(InputError, match=r"fewer than 1,200 .*\[0, 1, 2"):
        make_quickstart_photos.choose(images, labels)
    with pytest.raises(InputError, match="label 10, expected 0 to 9"):
        make_quickstart_photos.choose(images, labels + 10)


def test_the_photos_program_leaves_a_foreign_file_as_it_is(tmp_path):
    photos = tmp_path / "holiday.npz"
    np.savez(photos, mine=np.arange(3))
    before = photos.read_bytes()
    source = f"--source={_source_of_few_photos(tmp_path)}"
    done = _make_photos(source, f"--out={photos}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "holiday.npz: exists and was not made by this program" in done.stderr
    assert photos.read_bytes() == before


def test_the_photos_program_knows_its_own_file(tmp_path):
    arrays = {name: np.zeros((1, 2, 2)) for name in make_quickstart_photos.COUNTS}
    own = {
        name: np.zeros((10, count, 28, 28), np.uint8)
        for name, count in make_quickstart_photos.COUNTS.items()
    }
    others = {
        "text.npz": b"mine",
        "empty.npz": b"",
        "array.npz": b"\x93NUMPY\x01\0",
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
        assert not make_quickstart_photos.is_own(tmp_path / name)
    np.save(tmp_path / "array.npy", arrays["query"])
    np.savez(tmp_path / "more.npz", **own, mine=np.zeros(1))
    np.savez(tmp_path / "codes.npz", **arrays)
    for name in ("array.npy", "more.npz", "codes.npz", "."):
        assert not make_quickstart_photos.is_own(tmp_path / name)
    make_quickstart_photos.write_npz(tmp_path / "own.npz", own)
    assert make_quickstart_photos.is_own(tmp_path / "own.npz")
    assert make_quickstart_photos.is_own(quickstart.PHOTOS)


def test_a_packed_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    out = tmp_path / "own.npz"
    arrays = {name: np.zeros((1, 2, 2)) for name in make_quickstart_photos.COUNTS}
    make_quickstart_photos.write_npz(out, arrays)
    before = out.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*own\.npz"):
        make_quickstart_photos.write_npz(out, arrays | {"query": np.ones((1, 2, 2))})
    assert out.read_bytes() == before
    assert os.listdir(tmp_path) == [out.name]
