"""Packed codes in files: what NumPy and FAISS read is what was there."""

import sys

import numpy as np
import pytest

from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.search.engines import pack_bits
from cgat_jax.search.packed_codes import save_packed

faiss = pytest.importorskip("faiss")

SUFFIXES = [".npz", ".faiss"]


@pytest.fixture
def codes(rng):
    return rng.choice([-1, 1], (50, 12)).astype(np.int8)


def test_numpy_reads_all_of_it(codes, tmp_path):
    ids = [f"photos/{i}.jpg" for i in range(50)]
    path = save_packed(tmp_path / "c.npz", codes, ids=ids, network_sha256="ab")
    with np.load(path) as file:
        bits = np.unpackbits(file["packed"], axis=1)[:, : file["bits"]]
        np.testing.assert_array_equal(bits, codes > 0)
        assert file["ids"].tolist() == ids and str(file["network_sha256"]) == "ab"


def test_faiss_finds_what_a_loop_finds(codes, rng, tmp_path):
    """The padding of 12 bits to 16 changes no distance."""
    ids = rng.permutation(2**40 + np.arange(50))
    index = faiss.read_index_binary(
        str(save_packed(tmp_path / "c.faiss", codes, ids=ids))
    )
    assert (index.d, index.ntotal) == (16, 50)
    queries = rng.choice([-1, 1], (4, 12))
    distances, found = index.search(pack_bits(queries, 12), 50)
    for query, row, names in zip(queries, distances, found, strict=True):
        wanted = dict(zip(ids.tolist(), (query != codes).sum(axis=1), strict=True))
        assert row.tolist() == [wanted[name] for name in names.tolist()]
        assert sorted(names) == sorted(ids)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_packed_codes_are_replaced(suffix, codes, tmp_path):
    path = save_packed(tmp_path / f"c{suffix}", codes[:9])
    save_packed(path, codes)
    ours = path.read_bytes()
    foreign = tmp_path / f"other{suffix}"
    if suffix == ".npz":
        np.savez(foreign, packed=codes)
    else:
        faiss.write_index_binary(faiss.IndexBinaryFlat(8), str(foreign))
    for content in (foreign.read_bytes(), b"text", ours[:-1]):
        foreign.write_bytes(content)
        with pytest.raises(ForeignFilesError, match="is not packed codes"):
            save_packed(foreign, codes)
        assert foreign.read_bytes() == content


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_link_is_not_replaced(suffix, codes, tmp_path):
    path, link = tmp_path / f"c{suffix}", tmp_path / f"link{suffix}"
    save_packed(path, codes[:9])
    before = path.read_bytes()
    link.symlink_to(path)
    with pytest.raises(ForeignFilesError, match="is a link"):
        save_packed(link, codes)
    assert link.is_symlink() and path.read_bytes() == before


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([1, 2], r"expected 50, one a code, got \[2\]"),
        ([0.5] * 50, "integers or strings, got float64"),
        ([7] * 50, "some are there twice"),
    ],
)
def test_wrong_ids_are_one_line(ids, text, codes, tmp_path):
    with pytest.raises(InputError, match=text):
        save_packed(tmp_path / "c.npz", codes, ids=ids)


def test_what_cannot_be_is_one_line(codes, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="a FAISS file has integers alone"):
        save_packed(tmp_path / "c.faiss", codes, ids=[f"{i}" for i in range(50)])
    for wrong in (codes[0], codes[:0]):
        with pytest.raises(InputError, match=r"expected \[n, bits\], not empty"):
            save_packed(tmp_path / "c.npz", wrong)
    with pytest.raises(InputError, match="expected entries -1 and \\+1, got float64"):
        save_packed(tmp_path / "c.npz", codes * 0.5)
    with pytest.raises(InputError, match="unknown suffix of packed codes '.csv'"):
        save_packed(tmp_path / "c.csv", codes)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install faiss-cpu, .* \[search\]$"):
        save_packed(tmp_path / "c.faiss", codes)
    assert not [*tmp_path.iterdir()]
