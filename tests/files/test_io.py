"""Files are written whole, and come back as they were or not at all."""

import json
import resource

import numpy as np
import pytest

from cgat_jax.errors import DamagedFileError
from cgat_jax.files import arrays, io


def test_a_sealed_array_comes_back_and_numpy_reads_it_as_well(tmp_path, rng):
    path, array = tmp_path / "a.npy", rng.integers(-1, 2, (5, 7)).astype(np.int8)
    arrays.save_array(path, array)
    found = arrays.load_array(path, shape=(5, None), dtype=np.int8, low=-1, high=1)
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(np.load(path), array)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_every_flipped_bit_of_a_sealed_array_is_found(tmp_path):
    path, array = tmp_path / "a.npy", np.arange(6, dtype=np.int8).reshape(2, 3)
    arrays.save_array(path, array)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in (0, 3, 7):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                found = arrays.load_array(path, shape=(2, 3), dtype=np.int8)
            except DamagedFileError as error:
                assert str(path) in str(error)
            else:  # in the padding of the header: nothing of the array
                np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("length", [0, 1, 6, 40, 130, -1, -40, -73])
def test_a_truncated_array_is_one_line_with_its_path(tmp_path, length):
    path = tmp_path / "a.npy"
    arrays.save_array(path, np.arange(6, dtype=np.int8))
    path.write_bytes(path.read_bytes()[:length] if length else b"")
    if length == -73:  # exactly the digest is gone: as before there were digests
        assert len(arrays.load_array(path, shape=(6,), dtype=np.int8)) == 6
        return
    with pytest.raises(DamagedFileError, match="a.npy: damaged") as caught:
        arrays.load_array(path, shape=(6,), dtype=np.int8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"shape": (3, 2), "dtype": np.int8}, r"expected int8 \(3, 2\), found int8"),
        ({"shape": (2, 3), "dtype": np.uint8}, "expected uint8"),
        ({"shape": (2, 3), "dtype": np.int8, "high": 1}, "values outside of None to 1"),
    ],
)
def test_an_array_of_something_else_is_refused(tmp_path, expected, message):
    path = tmp_path / "a.npy"
    np.save(path, np.array([[1, 0, 1], [1, 1, 2]], np.int8))
    with pytest.raises(DamagedFileError, match=message):
        arrays.load_array(path, **expected)


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(4, np.int8))
    short, long = b"(4,), }" + 10 * b" ", b"(40000000000,), }"
    content = path.read_bytes()
    assert short in content and len(short) == len(long)
    path.write_bytes(content.replace(short, long))
    with pytest.raises(DamagedFileError, match="shorter than its header says"):
        arrays.load_array(path, shape=(None,), dtype=np.int8)


def test_a_pickled_array_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DamagedFileError):
        arrays.load_array(path, shape=(1,), dtype=object)


def test_a_sealed_object_comes_back(tmp_path):
    path = tmp_path / "a.json"
    content = {"map": 0.1 + 0.2, "of": [1, None, "ä"], "in": {"b": 1, "a": 2}}
    io.write_sealed(path, content)
    assert io.read_sealed(path) == content
    assert json.loads(path.read_text())["map"] == 0.1 + 0.2


@pytest.mark.parametrize(
    ("old", "new"), [("0.25", "0.35"), ("map", "mop"), ("}", ', "x": 1}')]
)
def test_an_edited_object_is_found(tmp_path, old, new):
    path = tmp_path / "a.json"
    io.write_sealed(path, {"map": 0.25})
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DamagedFileError, match="a.json"):
        io.read_sealed(path)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "1", '"x"', "{", '{"a": }', "[" * 100_000, "\xff{}"]
)
def test_what_is_no_object_is_one_line_with_its_path(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(DamagedFileError, match="a.json: damaged") as caught:
        io.read_json(path)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_names_the_path(tmp_path):
    path = tmp_path / "a.json"
    io.write_json(path, {"old": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="a.json"):
            io.write_bytes(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert io.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_is_set_aside_keeps_its_bytes_and_frees_the_name(tmp_path):
    for number in (1, 2):
        (tmp_path / "a.npy").write_bytes(bytes([number]))
        aside = io.set_aside(tmp_path / "a.npy", "why")
        assert aside.name == f"a.npy.damaged-{number}"
        assert aside.read_bytes() == bytes([number])
    assert not (tmp_path / "a.npy").exists()
