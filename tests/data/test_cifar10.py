import os
import pickle

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets import cifar10
from tests.data import layouts

SIZES = {"name": "cifar10", "image_size": 32, "crop_size": 32}


@pytest.fixture
def batches(rng):
    """Two images of each class a batch, of noise."""
    classes = (np.arange(20) % 10).tolist()
    pixels = rng.integers(0, 256, (6, 20, 3072), dtype=np.uint8)
    return {name: (pixels[i], classes) for i, name in enumerate(layouts.CIFAR_BATCHES)}


def load(source, root):
    settings = Data(source=str(source), num_queries=10, num_train=50, **SIZES)
    return load_dataset(settings, root, progress=False)


@pytest.mark.skipif(
    not layouts.CIFAR_ARCHIVE.exists(), reason=f"no {layouts.CIFAR_ARCHIVE}"
)
def test_real_photos_come_back_from_both_versions(tmp_path):
    batches = layouts.cifar_batches()
    binary = layouts.cifar_binary(tmp_path / "bin", batches)
    python = layouts.cifar_python(tmp_path / "py", batches)
    archive = layouts.tar_of(python, tmp_path / "cifar-10-python.tar.gz")
    loaded = [
        load(source, tmp_path / f"root {i}")
        for i, source in enumerate((binary, python, archive))
    ]
    assert len({dataset.split.sha256 for dataset in loaded}) == 1
    photos = layouts.cifar_photos(6)
    for position in range(60):
        for dataset in loaded:
            name = layouts.CIFAR_CLASSES[position % 10]
            np.testing.assert_array_equal(
                dataset.read(position), photos[name][position // 10]
            )
            (column,) = np.flatnonzero(dataset.labels[position])
            assert dataset.class_names[column] == name


def test_names_labels_and_split(tmp_path, batches):
    dataset = load(layouts.cifar_binary(tmp_path / "source", batches), tmp_path / "out")
    assert [dataset.image_ids[i] for i in (0, 99, 100, 119)] == [
        *("train/00000", "train/00099", "test/00000", "test/00019"),
    ]
    np.testing.assert_array_equal(dataset.labels.sum(axis=0), [12] * 10)
    split = dataset.split
    assert [len(split.query), len(split.train), len(split.database)] == [10, 50, 110]
    assert split.query.min() >= 100


def test_photos_are_enlarged_when_read(tmp_path, batches):
    source = layouts.cifar_binary(tmp_path / "source", batches)
    settings = Data(
        name="cifar10", source=str(source), num_queries=10, num_train=50, image_size=64
    )
    assert load_dataset(settings, tmp_path / "out", progress=False).read(0).shape == (
        *(64, 64, 3),
    )


class Attack:
    """Unpickled by anything else than our reader, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_batch_does_not_run(tmp_path, batches):
    source = layouts.cifar_python(tmp_path / "source", batches)
    path = source / "cifar-10-batches-py" / "data_batch_3"
    harm = tmp_path / "harm"
    for content in (Attack(harm), {b"data": Attack(harm)}, [Attack(harm)]):
        path.write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(DataError, match="data_batch_3: .*it asks for posix.mkdir"):
            cifar10.scan_cifar10([source])
        assert not harm.exists()
    pickle.loads(path.read_bytes())
    assert harm.exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (np.array([Attack("x")], object), "expected bytes|asks for"),
        (
            {b"data": np.zeros((2, 3072), np.float32), b"labels": [0, 1]},
            "expected byte",
        ),
        ({b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]}, "2 labels, pix"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, "1 labels, pixels"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, "refused|0 labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, "outside of 0"),
        ({b"data": b"", b"labels": [0]}, "not a CIFAR-10 python batch"),
        ({b"labels": [0]}, "not a CIFAR-10 python batch"),
        (7, "not a CIFAR-10 python batch"),
        (os.path.join, "asks for posixpath.join"),
    ],
)
def test_other_pickles_are_refused_in_a_line(tmp_path, batches, content, message):
    source = layouts.cifar_python(tmp_path / "source", batches)
    path = source / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=f"test_batch: .*({message})") as caught:
        cifar10.scan_cifar10([source])
    assert "\n" not in str(caught.value)


def test_a_pickle_of_python_2_is_read():
    """As the original was written: byte strings are text codes, NumPy's old names."""
    pixels = bytes(range(256)) * 12
    state = (
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + (3072).to_bytes(4, "little")
    )
    data = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R" + state + pixels + b"tbU\x06labels]K\x07au."
    )
    found, classes = cifar10._read_pickled(data, "data_batch_1")
    assert found.tobytes() == pixels and found.shape == (1, 3072)
    assert classes.tolist() == [7]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: (d / "data_batch_2.bin").unlink(), "no data_batch_2.bin there"),
        (
            lambda d: (d / "data_batch_2.bin").write_bytes(bytes(3073 * 2 - 1)),
            "data_batch_2.bin: not a complete CIFAR-10 batch",
        ),
        (lambda d: (d / "test_batch.bin").write_bytes(b""), "not a complete CIFAR-10"),
        (
            lambda d: (d / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072)),
            "test_batch.bin: classes outside of 0 to 9",
        ),
    ],
)
def test_bad_binary_batches_are_refused(tmp_path, batches, damage, message):
    source = layouts.cifar_binary(tmp_path / "source", batches)
    damage(source / "cifar-10-batches-bin")
    with pytest.raises(DataError, match=message):
        cifar10.scan_cifar10([source])
