"""The digest of the data: equal for equal data wherever they lie, and telling."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import DataDigest, load_dataset
from cgat_jax.data.digest import digest_data
from cgat_jax.errors import InputError
from tests.data.sources import as_format_1, encode, photo, small_coco, small_lists

LABELS, IDS, SPLIT, IMAGES = "labels", "image_ids", "split", "contents"


def differing(old, new):
    pairs = zip(old.to_json().items(), new.to_json().values(), strict=True)
    return [name for (name, x), y in pairs if x != y and name != "whole"]


def lists(source, root, **changes):
    settings = Data(name="lists", source=str(source), image_size=8)
    for key, value in changes.items():
        setattr(settings, key, value)
    return load_dataset(settings, root, progress=False)


def scenes(tmp_path, **changes):
    sizes = {"num_database": 30, "num_train": 20, "num_queries": 10, "image_size": 54}
    settings = Data(name="quickstart", **sizes | changes)
    return load_dataset(settings, tmp_path, progress=False).digest


PRINT = """
import sys
from pathlib import Path
from cgat_jax.config import Data
from cgat_jax.data import load_dataset
name, root = sys.argv[1:]
sizes = {} if name == "lists" else dict(num_database=30, num_train=20, num_queries=10)
settings = Data(name=name, image_size=8 if name == "lists" else 54, **sizes)
print(load_dataset(settings, Path(root), progress=False).digest.whole)
"""


def test_it_is_the_same_in_every_folder_and_process(tmp_path):
    first = lists(small_lists(tmp_path / "a"), tmp_path / "root a").digest
    second = lists(small_lists(tmp_path / "b"), tmp_path / "deep" / "root b").digest
    assert first == second
    expected = {"lists": first.whole, "quickstart": scenes(tmp_path).whole}
    for seed, (name, whole) in enumerate(expected.items()):
        done = subprocess.run(
            [sys.executable, "-c", PRINT, name, tmp_path / "root a"],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": str(seed), "PATH": ""},
        )
        assert done.stdout.strip() == whole, done.stderr


def relabel(source):
    for part in ("train", "database"):
        path = source / f"{part}_label.txt"
        path.write_text(path.read_text().replace("1 0 0", "1 0 1"))


def repaint(source):
    (source / "images/d1.jpg").write_bytes(encode(photo(60, 12, 10)))


def rename(source):
    (source / "images/d1.jpg").rename(source / "images/x1.jpg")
    path = source / "database_img.txt"
    path.write_text(path.read_text().replace("d1", "x1"))


def exchange(source):
    """A database image becomes a query as well, behind the images that are there."""
    for kind in ("img", "label"):
        line = (source / f"train_{kind}.txt").read_text().splitlines()[0]
        with (source / f"test_{kind}.txt").open("a") as file:
            file.write(line + "\n")


@pytest.mark.parametrize(
    "change, settings, parts",
    [
        (relabel, {}, [LABELS]),
        (repaint, {}, [IMAGES]),
        (rename, {}, [IDS, SPLIT]),
        (exchange, {}, [SPLIT]),
        (lambda source: None, {"image_size": 9}, [IMAGES]),
        (lambda source: None, {"enlarge": False}, [IMAGES]),
        (lambda source: None, {}, []),
    ],
)
def test_what_differs_has_another_digest(tmp_path, change, settings, parts):
    source = small_lists(tmp_path / "source")
    before = lists(source, tmp_path / "one").digest
    change(source)
    after = lists(source, tmp_path / "two", **settings).digest
    assert differing(before, after) == parts
    assert (before.whole == after.whole) == (not parts)


@pytest.mark.parametrize(
    "changes, parts",
    [
        ({"split_seed": 1}, [LABELS, SPLIT, IMAGES]),
        ({"image_size": 50}, [IMAGES]),
        ({"num_train": 19}, [SPLIT]),
        ({"num_queries": 9}, [LABELS, IDS, SPLIT]),
    ],
)
def test_scenes_are_told_apart_by_what_made_them(tmp_path, changes, parts):
    found = differing(scenes(tmp_path), scenes(tmp_path, **changes))
    assert found == parts


def test_an_earlier_version_stored_the_images_otherwise(tmp_path):
    before = lists(small_lists(tmp_path / "source"), tmp_path / "root").digest
    as_format_1(tmp_path / "root")
    after = lists("", tmp_path / "root").digest
    assert differing(before, after) == [IMAGES]


def test_drawn_splits_are_told_apart(tmp_path):
    def digest(**changes):
        sizes = {"num_queries": 1, "num_train": 2, "image_size": 30}
        settings = Data(source=str(source), **sizes | changes)
        return load_dataset(settings, tmp_path / "root", progress=False).digest

    source = small_coco(tmp_path / "source")
    assert differing(digest(), digest()) == []
    assert differing(digest(), digest(num_queries=2, num_train=1)) == [SPLIT]


def test_it_is_kept_as_json(tmp_path):
    digest = scenes(tmp_path)
    text = json.dumps(digest.to_json())
    assert DataDigest.from_json(json.loads(text)) == digest
    assert set(digest.to_json()) == {
        *("labels", "image_ids", "split", "contents", "whole")
    }
    for broken in (None, [], {}, digest.to_json() | {"labels": "0"}, {"whole": "x"}):
        with pytest.raises(InputError, match="digest of the data is damaged"):
            DataDigest.from_json(broken)


def test_names_cannot_run_into_each_other():
    labels = np.eye(2, dtype=np.uint8)
    one, two = (digest_data(labels, n, "", "") for n in (["a\nb", "c"], ["a", "b\nc"]))
    assert one.image_ids != two.image_ids
