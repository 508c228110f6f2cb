"""An index: what it finds, what it refuses, what is on disk when a call returns."""

import json
import re
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from cgat_jax import Index
from cgat_jax.errors import DamagedFileError, EngineError, ForeignFilesError, InputError
from cgat_jax.search.catalogue import Catalogue
from cgat_jax.search.rows import Item, Query
from tests.programs import ROOT
from tests.search.networks import network, photos

IDS = [f"dir/{i}.jpg" if i % 2 else i for i in range(12)]
LABELS = [["a", "b"] if i % 3 == 0 else ["b"] if i % 3 == 1 else [] for i in range(12)]


@pytest.fixture
def index():
    return Index.build(network(), photos(12), IDS, LABELS)


def loops(queries, k, keep=lambda i: True):
    codes = network().encode(photos(12))
    found = []
    for query in network().encode(queries):
        pairs = sorted(
            (int((query != c).sum()), i) for i, c in enumerate(codes) if keep(i)
        )
        found.append(pairs[:k])
    return found


def test_images_find_what_loops_over_codes_find(index):
    queries = photos(12)[:3] + photos(3, seed=1)
    found = index.search(queries, k=12)
    for row, pairs in enumerate(loops(queries, 12)):
        assert found.distances[row].tolist() == [d for d, _ in pairs]
        assert found.ids[row] == [IDS[i] for _, i in pairs]
        assert found.labels[row] == [tuple(LABELS[i]) for _, i in pairs]
    (found,) = index.search(queries[:1], k=4, label="a").ids
    assert found == [IDS[i] for _, i in loops(queries[:1], 4, lambda i: i % 3 == 0)[0]]


def test_codes_find_what_images_find(index):
    queries = photos(5, seed=2)
    by_code = index.search(network().encode(queries), k=7, network=network())
    assert by_code.ids == index.search(queries, k=7).ids


@pytest.mark.slow
def test_codes_of_another_network_are_refused(index):
    other = network(seed=1)
    for given in (other, other.sha256):
        with pytest.raises(InputError, match="encode with the index's own network"):
            index.search(other.encode(photos(1)), network=given)
    with pytest.raises(InputError, match=r"expected \[n, 16\]"):
        index.search(network(bits=24).encode(photos(1)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"k": 0}, "k: expected 1 to 12"),
        ({"k": 13}, "k: expected 1 to 12"),
        ({"k": 5, "label": "a"}, "k: expected 1 to 4"),
        ({"label": "cat"}, "label 'cat'"),
        ({"label": "\udce9"}, r"label '\\udce9': is no text of UTF-8"),
        ({"queries": []}, "expected one at least"),
        ({"queries": np.zeros((0, 16), np.int8)}, "expected one at least"),
        ({"queries": np.zeros((2, 9, 9), np.uint8)}, r"\[n, H, W, 3\]"),
        ({"queries": np.full((1, 40, 40, 3), np.nan)}, "image 0"),
    ],
)
def test_bad_questions_are_one_line(index, change, why):
    with pytest.raises(InputError, match=why) as error:
        index.search(**{"queries": photos(1), "k": 1} | change)
    assert "\n" not in str(error.value)


def test_adding_is_all_or_nothing(index):
    new = photos(2, seed=3)
    for ids, why in (
        (["x", IDS[0]], "id 0: is in the index already"),
        (["x", "x"], "id 'x': is in the index already"),
        (["x"], "2 images, 1 ids"),
        (["x", 1.5], "id 1.5: expected text or a whole number"),
        (["x", True], "id True"),
        (["x", 2**64], "id: expected a whole number of at most 63 bits, got 65"),
        (["x", -(2**63) - 1], "at most 63 bits"),
        (["x", 10**5000], "at most 63 bits"),
        (["x", "\udce9.jpg"], r"id '\\udce9.jpg': is no text of UTF-8"),
        ("xy", "ids: expected a list of them, got 'xy'"),
    ):
        with pytest.raises(InputError, match=why) as error:
            index.add(new, ids)
        assert "\n" not in str(error.value)
        assert len(index) == 12
        assert index.search(new, k=12).distances.shape == (2, 12)
    with pytest.raises(InputError, match="image 1"):
        index.add([new[0], np.zeros((3, 3))], ["x", "y"])
    assert len(index) == 12


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([["cat"], [""]], r"labels of image 1: expected a list of names, got \[''\]"),
        ([[0], [1]], r"labels of image 0: .* got \[0\]"),
        (["cat", "dog"], "labels of image 0: .* got 'cat'"),
        (np.array(["cat", "dog"]), "labels of image 0: .*'cat'"),
        ("ab", "labels of image 0: .* got 'a'"),
        ([["cat"], None], "labels of image 1: .* got None"),
        ([["cat"], 7], "labels of image 1: .* got 7"),
        ([["cat"], ["\ud800"]], r"label of image 1 '\\ud800': is no text of UTF-8"),
    ],
)
def test_what_are_no_labels_is_refused_before_anything_is_written(
    index, tmp_path, labels, why
):
    folder = index.save(tmp_path / "index")
    again = Index.load(folder)
    with pytest.raises(InputError, match=why) as error:
        again.add(photos(2, seed=3), ["x", "y"], labels)
    assert "\n" not in str(error.value)
    assert len(again) == len(Index.load(folder)) == 12
    again.add(photos(2, seed=3), ["x", "y"], [["cat"], []])
    again.close()
    assert len(Index.load(folder)) == 14


def test_items_that_cannot_be_kept_are_refused(index):
    for item, why in (
        (Item("x", ("",), b"\0\0"), "labels of id 'x'"),
        (Item("x", "cat", b"\0\0"), "labels of id 'x'"),
        (Item(2**64, (), b"\0\0"), "63 bits"),
        (Item("x", (), b"\0\0", origin=5), "origin: expected text, got 5"),
    ):
        with pytest.raises(InputError, match=why):
            index.add_items([item])
        assert len(index) == 12


def test_texts_and_numbers_of_numpy_are_read_back(index, tmp_path):
    labels = np.array([["cat"], ["dog"]])
    index.add(photos(2, seed=3), np.array(["x", "y"]), labels, origins=["1", "2"])
    index.add(photos(1, seed=4), np.array([77]))
    index.remove(np.array([0, 2]))
    again = Index.load(index.save(tmp_path / "index"))
    again.remove(np.array(["y"]))
    assert {"x", 77} <= {*again.catalogue.origins()} and len(again) == 12
    assert again.search(photos(2, seed=3)[:1], k=1, label="cat").ids == [["x"]]
    with pytest.raises(InputError, match="id 999: is not in the index"):
        again.remove(np.array([999]))
    with pytest.raises(InputError, match="ids: expected a list"):
        again.remove("x")


def test_removing_is_all_or_nothing_and_numbers_are_not_used_again(index):
    with pytest.raises(InputError, match="id 'none'"):
        index.remove([IDS[1], "none"])
    assert len(index) == 12
    index.remove([IDS[11], IDS[4]])
    found = index.search(photos(12)[4:5], k=10)
    assert IDS[4] not in found.ids[0] and IDS[11] not in found.ids[0]
    (number,) = index.add(photos(1, seed=4), [IDS[11]])
    assert number == 13


def test_an_index_is_read_back_as_it_was(index, tmp_path):
    expected = index.search(photos(12), k=12, label="")
    index.save(tmp_path / "index")
    again = Index.load(tmp_path / "index")
    found = again.search(photos(12), k=12)
    assert found.ids == expected.ids and found.labels == expected.labels
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert again.catalogue.picture(1) == index.catalogue.picture(1) != b""
    again.add(photos(1, seed=5), ["later"])
    again.remove([IDS[2]])
    assert len(Index.load(tmp_path / "index")) == 12  # while the other is open
    with pytest.raises(InputError, match="holds an index already"):
        index.save(tmp_path / "index")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(ForeignFilesError):
        index.save(tmp_path / "photos")
    assert [x.name for x in (tmp_path / "photos").iterdir()] == ["a.txt"]


def test_what_is_no_index_is_one_line(tmp_path, index):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Index.load(tmp_path / "none")
    with pytest.raises(InputError, match="holds no index"):
        Index.load(tmp_path)
    folder = index.save(tmp_path / "index")
    network(seed=1).save(folder / "network.safetensors")
    with pytest.raises(DamagedFileError, match="its network"):
        Index.load(folder)


def test_a_closed_index_is_called_closed(index):
    index.close()
    with pytest.raises(InputError, match="was closed") as error:
        index.add(photos(1), ["a"])
    assert not isinstance(error.value, DamagedFileError)


def test_a_damaged_index_is_named(tmp_path, index, rng):
    folder = index.save(tmp_path / "index")
    path = folder / "catalogue.sqlite"
    whole = path.read_bytes()
    bare = tmp_path / "bare.sqlite"
    with sqlite3.connect(bare) as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    half = whole[: len(whole) // 2]
    for content in (b"", b"not a database" * 100, half, bare.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="catalogue.sqlite") as error:
            Index.load(folder)
        assert "build the index again" in str(error.value)
    path.unlink()
    with pytest.raises(DamagedFileError, match="catalogue.sqlite: missing or empty"):
        Index.load(folder)
    assert not path.exists()
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE items SET code = x'ffff' WHERE number = 4")
    db.close()
    with pytest.raises(DamagedFileError, match="at item 'dir/3.jpg'"):
        Index.load(folder)


@pytest.mark.parametrize(
    "fails", ["search.catalogue.Catalogue.copy_to", "search.folder.write_sealed"]
)
def test_an_index_whose_saving_was_cut_off_is_none_and_is_saved_again(
    tmp_path, index, monkeypatch, fails
):
    def fail(*arguments):
        raise OSError("no space left")

    folder = tmp_path / "index"
    with monkeypatch.context() as patched:
        patched.setattr(f"cgat_jax.{fails}", fail)
        with pytest.raises(OSError, match="no space left"):
            index.save(folder)
    with pytest.raises(InputError, match="holds no index"):
        Index.load(folder)
    (folder / "catalogue.sqlite").write_bytes(b"cut off")
    (folder / "catalogue.sqlite-wal").write_bytes(b"cut off")
    again = Index.load(index.save(folder))
    assert again.search(photos(12), k=12).ids == index.search(photos(12), k=12).ids


@pytest.mark.parametrize("damaged", [False, True])
def test_a_catalogue_without_its_other_file_is_set_aside(tmp_path, index, damaged):
    """As of an index that was copied in part: what was added is nowhere else."""
    folder = index.save(tmp_path / "index")
    (folder / "index.json").unlink()
    if damaged:
        (folder / "catalogue.sqlite").write_bytes(b"SQLite format 3")
    before = (folder / "catalogue.sqlite").read_bytes()
    index.save(folder)
    assert (folder / "catalogue.sqlite.damaged-1").read_bytes() == before
    again = Index.load(folder)
    assert len(again) == len(index)
    again.close()
    (folder / "index.json").unlink()
    empty = Index.load(Index.build(network(), []).save(tmp_path / "empty"))
    empty.close()
    (tmp_path / "empty" / "index.json").unlink()
    Index.build(network(), []).save(tmp_path / "empty")
    assert not [*(tmp_path / "empty").glob("*.damaged-*")]


def test_a_catalogue_that_another_process_writes_is_read_in_one_state(tmp_path, index):
    path = index.save(tmp_path / "index") / "catalogue.sqlite"
    reader, writer = Catalogue(path, is_made=True), Catalogue(path, is_made=True)
    found = []
    for numbers, _, _ in reader.codes(block=5):
        if not found:
            writer.add([Item("new", ("c",), b"\0\0")])
            writer.remove([12])
        found += numbers.tolist()
    assert found == list(range(1, 13))
    assert len(reader) == 12 and reader.count("c") == 0  # as the codes that it has
    again = Catalogue(path, is_made=True)
    assert sum(len(n) for n, _, _ in again.codes()) == len(again) == len(writer) == 12
    assert again.count("c") == 1


def test_a_catalogue_that_a_thread_changes_is_read_in_one_state(index):
    """Also in memory, and where the reader stops early."""
    blocks = index.catalogue.codes(block=5)
    next(blocks)
    writer = threading.Thread(target=index.add, args=(photos(1, seed=3), ["new"]))
    writer.start()
    assert sum(len(numbers) for numbers, _, _ in blocks) == 7
    writer.join()
    assert len(index) == 13
    next(blocks := index.catalogue.codes(block=5))
    blocks.close()
    index.remove(["new"])


def test_a_label_that_is_lost_is_named(tmp_path, index):
    folder = index.save(tmp_path / "index")
    with sqlite3.connect(folder / "catalogue.sqlite") as db:
        db.execute("UPDATE labels SET name = 'c' WHERE name = 'b'")
    db.close()
    with pytest.raises(DamagedFileError, match="a label is missing"):
        Index.load(folder)


@pytest.mark.slow
def test_every_flipped_bit_of_a_catalogue_is_noticed_or_harmless(tmp_path, index, rng):
    folder = index.save(tmp_path / "index")
    path = folder / "catalogue.sqlite"
    whole, expected = path.read_bytes(), index.search(photos(12), k=12)
    for _ in range(60):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            loaded = Index.load(folder)
            found = loaded.search(photos(12), k=12)
        except (InputError, OSError):
            continue
        np.testing.assert_array_equal(found.distances, expected.distances)
        assert found.ids == expected.ids and found.labels == expected.labels


def test_a_flipped_bit_of_an_id_or_a_label_is_noticed_or_harmless(tmp_path, index):
    """dir/5.jpg would be dir/4.jpg; what an index of SQLite's has twice is harmless."""
    path = index.save(tmp_path / "index") / "catalogue.sqlite"
    whole, one = path.read_bytes(), np.ones((1, 16), np.int8)
    expected, outcomes = index.search(one, k=12), []
    texts = {rb"dir/5\.jpg": 4, rb'\["a", "b"\]': 2, rb'\["b"\]': 2}
    for text, offset in texts.items():
        for place in re.finditer(text, whole):
            content = bytearray(whole)
            content[place.start() + offset] ^= 1
            path.write_bytes(content)
            try:
                found = Index.load(path.parent).search(one, k=12)
            except DamagedFileError:
                outcomes.append("noticed")
                continue
            assert found.ids == expected.ids and found.labels == expected.labels
            outcomes.append("harmless")
    assert outcomes.count("noticed") >= 9 and "harmless" in outcomes


@pytest.mark.slow
def test_what_was_added_survives_a_kill(tmp_path, index):
    """A child adds one after another, says so, and is killed amid one."""
    folder = index.save(tmp_path / "index")
    code = f"""
import sys, numpy as np
from cgat_jax import Index
index = Index.load({str(folder)!r})
for number in range(10_000):
    index.add(np.where(np.arange(16) < number % 16, 1, -1)[None], [f"new{{number}}"])
    print(f"new{{number}}", flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    said = [child.stdout.readline().strip() for _ in range(25)]
    child.kill()
    said += child.communicate()[0].split()[:-1]  # the last line may be cut off
    again = Index.load(folder)
    assert {*said} <= {*again.catalogue.origins()}
    found = again.search(np.ones((1, 16), np.int8), k=len(again))
    assert sorted(map(str, found.ids[0])) == sorted(map(str, again.catalogue.origins()))


def test_threads_share_an_index(index):
    queries, wrong = network().encode(photos(12)), []
    expected = index.search(queries, k=4, label="a").ids

    def ask():
        for _ in range(30):
            if index.search(queries, k=4, label="a").ids != expected:
                wrong.append("another answer")

    def change(name):
        for number in range(30):
            index.add(queries[:1], [f"{name}{number}"], [["b"]])
            index.remove([f"{name}{number}"])

    threads = [threading.Thread(target=change, args=[name]) for name in "xy"]
    threads += [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(index) == 12


@pytest.mark.parametrize("engine", ["numpy", "faiss"])
@pytest.mark.parametrize("done", [False, True])
def test_what_an_engine_fails_at_is_undone(engine, done, monkeypatch):
    """Whether the engine did it before it failed or not, and in the catalogue too."""
    index = Index.build(network(), photos(12), IDS, LABELS, engine=engine)
    expected = index.search(photos(3), k=12).ids

    def fails_at(name):
        work = getattr(index.engine, name)

        def fail(*arguments):
            if done:
                work(*arguments)
            raise EngineError("it failed")

        monkeypatch.setattr(index.engine, name, fail)

    fails_at("add")
    with pytest.raises(EngineError, match="it failed"):
        index.add(photos(1, seed=5), ["new"], [["a"]])
    assert len(index) == 12 and "new" not in index.catalogue.origins()
    assert index.search(photos(3), k=12).ids == expected
    assert index.search(photos(1), k=4, label="a").distances.shape == (1, 4)
    fails_at("remove")
    with pytest.raises(EngineError, match="it failed"):
        index.remove([IDS[0]])
    assert len(index) == 12 and index.search(photos(3), k=12).ids == expected
    index.remove([IDS[0]])
    index.add(photos(1, seed=5), ["new"], [["a"]])
    assert len(index) == 12 == len(index.search(photos(1), k=12).ids[0])


def test_an_engine_that_cannot_be_had_again_is_told_without_its_address(
    index, monkeypatch
):
    def fail(*arguments):
        raise InputError("http://secret:19530: nobody there")

    monkeypatch.setattr(index.engine, "add", fail)
    with monkeypatch.context() as patched:
        patched.setattr("cgat_jax.search.store.make_engine", fail)
        with pytest.raises(InputError):
            index.add(photos(1, seed=5), ["new"])
        for call in (
            lambda: index.search(photos(1), k=1),
            lambda: index.add(photos(1, seed=5), ["new"]),
            lambda: index.remove([0]),
        ):
            with pytest.raises(EngineError, match="cannot be had again") as error:
                call()
            assert "secret" not in str(error.value) and len(index) == 12
    index.add(photos(1, seed=5), ["new"])
    assert index.search(photos(1, seed=5), k=13).distances[0, 0] == 0


def test_labels_that_look_like_code_are_only_text(index):
    nasty = "'); DROP TABLE items; -- \" <script>"
    index.add(photos(1, seed=6), [nasty], [[nasty]])
    found = index.search(photos(1, seed=6), k=1, label=nasty)
    assert found.ids == [[nasty]] and found.labels == [[(nasty,)]]
    index.remove([nasty])
    with pytest.raises(InputError, match="k: expected 1 to 0"):
        index.search(photos(1), k=1, label=nasty)


def test_names_are_the_same_from_disk_and_from_memory(rng):
    catalogue = Catalogue()
    kinds = [("a",), (), ("a", "b")]
    items = [Item(f"i{n}" if n % 2 else n, kinds[n % 3], b"\x01") for n in range(300)]
    catalogue.add(items)
    catalogue.remove(range(1, 300, 7))
    left = np.setdiff1d(np.arange(1, 301), np.arange(1, 300, 7))
    asked = rng.choice(left, (4, 20))
    before = catalogue.names(asked)
    assert len(catalogue._db.rows("SELECT * FROM items")) == len(left) == len(catalogue)
    list(catalogue.codes())  # reads all names
    assert catalogue.names(asked) == before
    assert before[0][1][2] == items[asked[1, 2] - 1].id
    (number,) = catalogue.add([Item("new", (), b"\x01")])
    catalogue.remove(left[:1].tolist())
    assert catalogue.names(np.array([[number]])) == ([["new"]], [[()]])
    assert catalogue.count("") == len(left) and catalogue.count("b") == sum(
        "b" in items[n - 1].labels for n in left[1:]
    )
    for unknown in (left[0], 0, -1, number + 1):
        with pytest.raises(KeyError):
            catalogue.names(np.array([[unknown]]))


def test_a_catalogue_in_memory_and_queries():
    catalogue = Catalogue()
    numbers = catalogue.add([Item("x", ("a",), b"\x01"), Item(7, (), b"\x02", b"jpeg")])
    assert catalogue.ids(numbers.tolist()) == {1: ("x", ("a",)), 2: (7, ())}
    assert catalogue.picture(1) is None and catalogue.picture(2) == b"jpeg"
    for _ in range(2):  # the second time in their place
        queries = [Query("q", ("a", "b"), b"png"), Query("c", (), b"other", clean=True)]
        catalogue.set_queries(queries)
    assert catalogue.clean_queries() == [b"other"]
    ((number, id_, labels),) = catalogue.query_list()
    assert (id_, labels) == ("q", ("a", "b"))
    assert catalogue.query(number) == Query("q", ("a", "b"), b"png")
    assert catalogue.query(number + 1) is None
    assert json.dumps([*catalogue.label_numbers()]) == '["a"]'
