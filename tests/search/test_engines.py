"""Engines against loops over pairs of bits, and against ``cgat_jax.retrieval``."""

import faiss
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cgat_jax.errors import InputError
from cgat_jax.retrieval.hamming import distance_keys, pack_codes
from cgat_jax.retrieval.ranking import nearest
from cgat_jax.search import Index, faiss_engine
from cgat_jax.search.catalogue import Catalogue
from cgat_jax.search.engines import (
    EngineSettings,
    lacks_faiss,
    make_engine,
    pack_bits,
)
from tests.search.networks import network

EXACT = ("numpy", "faiss", "faiss-flat", "milvus")
BITS = (4, 8, 12, 32, 64)


def settings_of(name, folder):
    uri = str(folder / "codes.db") if name == "milvus" else ""
    return EngineSettings(name, uri, collection="test")


@pytest.fixture(params=EXACT)
def exact(request, tmp_path):
    """A factory of empty engines, which are closed in the end."""
    made = []
    if request.param == "milvus":
        pytest.importorskip("pymilvus")
        pytest.importorskip("milvus_lite", exc_type=ImportError)

    def make(bits):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(make_engine(bits, settings_of(request.param, folder)))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def few_codes(rng, count, bits):
    """Codes of which many are equal, and many at the same distance."""
    kinds = np.where(rng.integers(2, size=(max(1, count // 4), bits)), 1, -1)
    return kinds[rng.integers(len(kinds), size=count)].astype(np.int8)


def loops(queries, codes, numbers, k):
    """The k nearest by counting bits one by one; the first of equal ones first."""
    found = []
    for query in queries:
        pairs = [
            (sum(int(a != b) for a, b in zip(query, code, strict=True)), int(number))
            for code, number in zip(codes, numbers, strict=True)
        ]
        found.append(sorted(pairs)[:k])
    distances, numbers = np.array(found).transpose(2, 0, 1)
    return distances, numbers


def check(found, expected):
    np.testing.assert_array_equal(found.distances, expected[0])
    np.testing.assert_array_equal(found.numbers, expected[1])


@pytest.mark.slow
def test_answers_are_those_of_loops(exact, rng):
    for bits in BITS:
        engine, codes = exact(bits), few_codes(rng, 60, bits)
        numbers = np.sort(rng.choice(10_000, 60, replace=False))
        labels = [[int(n) % 3] for n in numbers]
        packed = pack_bits(codes, bits)
        engine.add(numbers[:40], packed[:40], labels[:40])
        engine.add(numbers[40:], packed[40:], labels[40:])
        queries = np.concatenate([codes[:3], few_codes(rng, 3, bits)])
        asked = pack_bits(queries, bits)
        check(engine.search(asked, 7), loops(queries, codes, numbers, 7))
        check(engine.search(asked, 60), loops(queries, codes, numbers, 60))
        some = numbers % 3 == 1
        expected = loops(queries, codes[some], numbers[some], 5)
        check(engine.search(asked, 5, label=1), expected)
        gone = rng.random(60) < 0.3
        engine.remove(numbers[gone])
        expected = loops(queries, codes[~gone], numbers[~gone], 7)
        check(engine.search(asked, 7), expected)


def test_the_order_is_that_of_retrieval(exact, rng):
    bits, codes, queries = 16, few_codes(rng, 300, 16), few_codes(rng, 5, 16)
    engine = exact(bits)
    engine.add(np.arange(300), pack_bits(codes, bits), [()] * 300)
    packed = pack_codes(queries), pack_codes(codes)
    found = engine.search(pack_bits(queries, bits), 300)
    for row in range(5):
        ranked = nearest(distance_keys(packed[0], row, packed[1]), 300)
        np.testing.assert_array_equal(found.numbers[row], ranked)


@hypothesis.given(st.integers(0, 2**32 - 1), st.integers(1, 16))
def test_the_same_change_of_all_codes_changes_nothing(seed, count):
    rng = np.random.default_rng(seed)
    codes, mask = few_codes(rng, 30, 16), np.where(rng.integers(2, size=16), 1, -1)
    found = []
    for changed in (codes, codes * mask):
        engine = make_engine(16, EngineSettings("faiss"))
        engine.add(np.arange(30), pack_bits(changed, 16), [()] * 30)
        found.append(engine.search(pack_bits(changed[:4], 16), count))
    check(found[0], found[1])


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_a_fast_structure_finds_most_and_says_how_many(
    kind, rng, tmp_path, monkeypatch
):
    codes = few_codes(rng, 4000, 32)
    codes = codes * np.where(rng.random(codes.shape) < 0.1, -1, 1).astype(np.int8)
    packed, numbers = pack_bits(codes, 32), np.arange(4000) * 2 + 1
    labels = [[i % 5] for i in range(4000)]
    settings = EngineSettings(f"faiss-{kind}", folder=tmp_path)
    engine, oracle = make_engine(32, settings), make_engine(32, EngineSettings("numpy"))
    for each in (engine, oracle):
        each.add(numbers, packed, labels)
        each.settle()
        each.remove(numbers[:100])  # few enough for no new structure
    assert f"faiss-{kind}, recall at 10 measured {engine.recall:.3f}" == str(engine)
    furthest = oracle.search(packed[200:260], 10).distances[:, -1:]
    found = engine.search(packed[200:260], 10)
    assert not np.isin(found.numbers, numbers[:100]).any()
    assert (found.distances <= furthest).mean() > 0.8
    assert (np.diff(found.distances) >= 0).all()
    for engine_ in (engine, oracle):  # exact with a label
        check(engine_.search(packed[:3], 5, label=2), oracle.search(packed[:3], 5, 2))

    expected = engine.search(packed[200:260], 10)
    engine.close()
    again = make_engine(32, settings)
    again.add(numbers[100:], packed[100:], labels[100:])
    with monkeypatch.context() as patched:  # it is read, and not made again
        patched.setattr(type(again), "_keep", None)
        again.settle()
    assert str(again) == str(engine)
    check(again.search(packed[200:260], 10), expected)
    again.remove(numbers[100:3900])
    found = again.search(packed[3900:3905], 50)
    assert (found.numbers >= numbers[3900]).all()


def test_what_is_kept_of_other_codes_or_damaged_is_made_again(rng, tmp_path):
    settings = EngineSettings("faiss-hnsw", folder=tmp_path)
    packed = pack_bits(few_codes(rng, 200, 16), 16)
    numbers = np.arange(200)
    engine = make_engine(16, settings)
    engine.add(numbers, packed, [()] * 200)
    engine.settle()
    expected = engine.search(packed[:5], 9)
    kept = tmp_path / "engine.faiss"
    for content in (b"", kept.read_bytes()[:-9], b"x" * 1000):
        kept.write_bytes(content)
        again = make_engine(16, settings)
        again.add(numbers, packed, [()] * 200)
        again.settle()
        check(again.search(packed[:5], 9), expected)
    other = make_engine(16, settings)
    other.add(numbers, packed[::-1].copy(), [()] * 200)
    other.settle()
    assert (other.search(packed[:1], 1).distances == 0).all()


def test_the_size_chooses_the_structure(monkeypatch, rng):
    monkeypatch.setattr(faiss_engine, "EXACT_TO", 100)
    monkeypatch.setattr(faiss_engine, "GRAPH_TO", 300)
    packed = pack_bits(few_codes(rng, 400, 16), 16)
    for size, kind in ((100, "flat"), (101, "hnsw"), (400, "ivf")):
        engine = make_engine(16, EngineSettings("faiss"))
        engine.add(np.arange(size), packed[:size], [()] * size)
        engine.settle()
        assert str(engine).startswith(f"faiss-{kind}")


def test_the_name_of_an_engine_is_of_what_searches(monkeypatch, rng):
    """It grows past a bound, and shrinks: what there is has its name."""
    monkeypatch.setattr(faiss_engine, "EXACT_TO", 100)
    monkeypatch.setattr(faiss_engine, "GRAPH_TO", 300)
    packed = pack_bits(few_codes(rng, 400, 16), 16)
    engine = make_engine(16, EngineSettings("faiss"))
    engine.settle()
    names = []
    for start in range(0, 400, 20):
        some = np.arange(start, start + 20)
        engine.add(some, packed[some], [()] * 20)
        names.append(str(engine).split(",")[0])
        searches = faiss.downcast_IndexBinary((engine._fast or engine._flat).index)
        kind = {"flat": "Flat", "hnsw": "HNSW", "ivf": "IVF"}[names[-1].split("-")[1]]
        assert type(searches).__name__ == f"IndexBinary{kind}"
        assert (engine.search(packed[some], 1).distances == 0).all()
    assert names == 5 * ["faiss-flat"] + 10 * ["faiss-hnsw"] + 5 * ["faiss-ivf"]
    engine.remove(np.arange(320))
    assert str(engine) == "faiss-flat, exact"


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_the_recall_is_of_twice_as_many_at_most(kind, rng):
    """Lists of the first few codes are bad ones, and their recall says nothing."""
    packed = pack_bits(few_codes(rng, 4000, 32), 32)
    engine = make_engine(32, EngineSettings(f"faiss-{kind}"))
    engine.add(np.arange(60), packed[:60], [()] * 60)
    engine.settle()
    for start in range(60, 3000, 60):
        some = np.arange(start, start + 60)
        engine.add(some, packed[some], [()] * 60)
        assert start + 60 < 2 * engine._made.size
    if kind == "ivf":
        assert faiss.downcast_IndexBinary(engine._fast.index).nlist > 10
    engine.settle()
    assert engine.recall == engine._measured_recall()


def test_an_index_is_filled_before_its_structure_is_made(rng, tmp_path, monkeypatch):
    """So that what was kept is of the same codes, in whichever blocks they come."""
    codes = np.where(rng.integers(2, size=(300, 16)), 1, -1)
    built = Index.build(network(), codes, engine="faiss-hnsw")
    folder = built.save(tmp_path / "index")
    Index.load(folder).close()
    monkeypatch.setattr(Catalogue.codes, "__defaults__", (64,))
    monkeypatch.setattr(faiss_engine.FaissEngine, "_graph", None)
    index = Index.load(folder)
    assert str(index.engine).startswith("faiss-hnsw, recall")
    assert index.engine._made.size == index.engine._fast.ntotal == 300


def test_bits_lie_as_packbits_lays_them(rng):
    codes = few_codes(rng, 9, 12)
    np.testing.assert_array_equal(pack_bits(codes, 12), np.packbits(codes > 0, axis=1))


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        (np.ones((2, 7), np.int8), r"expected \[n, 8\]"),
        (np.ones(8, np.int8), r"expected \[n, 8\]"),
        (np.full((1, 8), 2, np.int8), "entries -1 and"),
        (np.full((1, 8), np.nan, np.float32), "entries -1 and"),
        (np.ones((1, 8), bool), "entries -1 and"),
    ],
)
def test_what_is_no_code_is_refused(codes, why):
    with pytest.raises(InputError, match=why):
        pack_bits(codes, 8)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (EngineSettings("fais"), "did you mean 'faiss'"),
        (EngineSettings("milvus"), "needs a uri"),
        (EngineSettings("faiss", "http://127.0.0.1:1"), "it alone, needs a uri"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(settings, why):
    with pytest.raises(InputError, match=why):
        make_engine(8, settings)


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(InputError, match=r"cgat-jax\[search\]"):
        make_engine(8, EngineSettings("faiss"))
    monkeypatch.setitem(__import__("sys").modules, "pymilvus", None)
    with pytest.raises(InputError, match=r"cgat-jax\[milvus\]"):
        make_engine(8, EngineSettings("milvus", "codes.db"))


def test_without_faiss_numpy_searches_and_says_so(monkeypatch):
    assert str(make_engine(8, EngineSettings())).startswith("faiss")
    assert lacks_faiss() == ""
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    assert str(make_engine(8, EngineSettings())) == "numpy, exact"
    assert "pip install -e '.[search]'" in lacks_faiss()
    with pytest.raises(InputError, match="--engine=numpy"):
        make_engine(8, EngineSettings("faiss"))
