import dataclasses

import absl.flags
import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import SCANS, load_dataset
from cgat_jax.data.dataset import DataError
from cgat_jax.data.datasets import released
from cgat_jax.data.prepare import prepared
from experiments import prepare as program
from tests.data import layouts
from tests.data.sources import write_lists

COUNT = 12
NONE = "no released split there; give the folder"
LABELS = {"clouds": range(1, 11, 2), "sky": [2, 4, 6], "female": [8]}


@pytest.fixture
def flickr(tmp_path):
    """A prepared FLICKR of 12 photos; 10 and 12 have no label."""
    source = layouts.flickr(tmp_path / "source", layouts.noise_photos(COUNT), LABELS)
    root = tmp_path / "root"
    prepared.prepare(
        SCANS["flickr25k"], source, root, image_size=32, threads=2, progress=False
    )
    return root


def row(root, number):
    stored = prepared.open_prepared(root, "flickr25k", 32)
    return " ".join(str(bit) for bit in stored.labels[number - 1])


def lists(folder, root, *, query=(1, 12), train=(2, 2, 3), database=range(2, 12)):
    numbers = {"test": query, "train": train, "database": database}
    write_lists(
        folder,
        {
            part: [(f"mirflickr/im{n}.jpg", row(root, n)) for n in rows]
            for part, rows in numbers.items()
            if rows is not None
        },
    )
    return folder


def load(root, **changes):
    sizes = {} if "split" in changes else {"num_queries": 2, "num_train": 3}
    settings = Data(name="flickr25k", image_size=32, **sizes | changes)
    return load_dataset(settings, root, progress=False)


def test_the_split_is_the_one_of_the_files(flickr, tmp_path, caplog):
    splits = str(lists(tmp_path / "lists", flickr))
    split = load(flickr, split="released", splits=splits).split
    assert split.name == "flickr25k-released"
    np.testing.assert_array_equal(split.query, [0, 11])
    np.testing.assert_array_equal(split.train, [1, 1, 2])
    np.testing.assert_array_equal(split.database, np.arange(1, 11))
    logged = [record.getMessage() for record in caplog.records]
    assert "train list: 1 repeated lines, kept" in logged
    assert "3 of 12 images have no label, kept" in logged
    assert load(flickr, split="released").split.sha256 == split.sha256
    assert load(flickr).split.name == "flickr25k-2q-3t-seed0"


def test_without_a_database_list_all_but_the_queries_are_the_database(flickr, tmp_path):
    folder = lists(tmp_path / "lists", flickr, database=None)
    split = load(flickr, split="released", splits=str(folder)).split
    np.testing.assert_array_equal(split.database, np.arange(1, 11))


def test_adding_again_does_nothing_and_another_is_refused(flickr, tmp_path):
    stored = prepared.open_prepared(flickr, "flickr25k", 32)
    folder = lists(tmp_path / "lists", flickr)
    assert released.add_released(flickr, stored, folder)
    before = (flickr / "released.npz").read_bytes()
    assert not released.add_released(flickr, stored, folder)
    assert not released.add_released(flickr, stored, tmp_path / "gone")
    other = lists(tmp_path / "other", flickr, query=(1,))
    with pytest.raises(DataError, match="holds another released split; delete"):
        released.add_released(flickr, stored, other)
    assert (flickr / "released.npz").read_bytes() == before


def test_few_other_labels_are_counted_and_many_refused(flickr, tmp_path, caplog):
    folder = lists(tmp_path / "lists", flickr, train=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
    path = folder / "train_label.txt"
    lines = path.read_text().splitlines()
    lines[9] = lines[0]
    path.write_text("\n".join(lines))
    load(flickr, split="released", splits=str(folder))
    expected = "train list: 1 label rows differ from the annotations, which are used"
    assert expected in [record.getMessage() for record in caplog.records]

    swapped = lists(tmp_path / "swapped", flickr)
    for path in swapped.glob("*_label.txt"):
        rows = [line.split()[::-1] for line in path.read_text().splitlines()]
        path.write_text("".join(" ".join(words) + "\n" for words in rows))
    (flickr / "released.npz").unlink()
    with pytest.raises(DataError, match="3 of 3 train rows differ .* order clouds, "):
        load(flickr, split="released", splits=str(swapped))


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("flickr25k", lambda d: (d / "test_img.txt").unlink(), "test_img.txt: no such"),
        (
            "flickr25k",
            lambda d: (d / "test_img.txt").write_text("im1.jpg\nim99.jpg\n"),
            "1 listed images are not in the prepared flickr25k: im99.jpg$",
        ),
        (
            "flickr25k",
            lambda d: [
                path.write_text(path.read_text().replace("\n", " 1\n"))
                for path in d.glob("*_label.txt")
            ],
            "39 label columns, expected 38",
        ),
    ],
)
def test_bad_lists_are_refused_in_a_line(flickr, tmp_path, name, damage, message):
    folder = lists(tmp_path / "lists", flickr)
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        load(flickr, split="released", splits=str(folder))
    assert "\n" not in str(caught.value)
    assert not released.has_released(flickr)


def test_a_split_that_was_not_added_is_asked_for(flickr):
    with pytest.raises(DataError, match=NONE):
        load(flickr, split="released")


def test_wrong_lists_are_found_before_anything_is_prepared(tmp_path, capsys):
    source = layouts.flickr(tmp_path / "source", layouts.noise_photos(COUNT), LABELS)
    out, missing = tmp_path / "out", str(tmp_path / "lsits")
    for splits, message in ((missing, "lsits/train_img.txt: no such"), ("", NONE)):
        with pytest.raises(DataError, match=message):
            load(out, split="released", splits=splits, source=str(source))
    values = absl.flags.FlagValues()
    program.define_flags(values)
    given = {"dataset": "flickr25k", "source": source, "out": out, "splits": missing}
    values(["prepare", *(f"--{name}={value}" for name, value in given.items())])
    assert program.main(values) == 2
    assert capsys.readouterr().err.endswith("lsits/train_img.txt: no such file\n")
    values["dataset"].value = "cifar10"
    assert program.main(values) == 2
    assert "cifar10: no released split is known" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(90)])
def test_a_damaged_split_is_reported(flickr, tmp_path, content):
    (flickr / "released.npz").write_bytes(content)
    with pytest.raises(DataError, match="released.npz: damaged .*; delete it"):
        load(flickr, split="released")


def test_names_match_whatever_the_folders_are():
    assert released.base_name("mirflickr\\im7.JPG") == "im7.jpg"
    forms = ("actor/0001_2124494179.jpg", "x\\0001_2124494179.jpg", "2124494179.jpg")
    assert {released.photo_number(form) for form in forms} == {"2124494179"}


def test_a_data_set_without_released_lists_says_so(flickr, tmp_path):
    stored = prepared.open_prepared(flickr, "flickr25k", 32)
    stored = dataclasses.replace(stored, name="cifar10")
    with pytest.raises(DataError, match="cifar10: no released split is known; known"):
        released.add_released(flickr, stored, tmp_path)
