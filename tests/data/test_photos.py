"""A user's own photos: layouts that are recognized, and what is wrong with others."""

import json
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from cgat_jax.config import Data
from cgat_jax.data import DataError, load_dataset
from cgat_jax.data.datasets.photos import scan_photos
from cgat_jax.data.diagnosis import diagnose
from cgat_jax.data.preview import preview
from cgat_jax.data.sources.archives import places_of
from tests.data import layouts
from tests.data.sources import (
    SHARED,
    encode,
    needs_shared_data,
    photo,
    small_lists,
    write_images,
)

DRAWN = Data(
    name="photos", num_queries=0, num_train=0, image_size=16, crop_size=8, threads=1
)


def folders(root, *, each=5, classes=("cat", "dog"), inside=""):
    names = [f"{inside}{kind}/{i}.jpg" for kind in classes for i in range(each)]
    write_images(root, names)
    return root


def table(root, text, name="labels.csv", images=6):
    write_images(root, [f"p{i}.jpg" for i in range(images)])
    (root / name).write_text(text)
    return root


CSV = "path,labels\np0.jpg,cat\np1.jpg,cat;dog\np2.jpg,dog | old cat\np3.jpg,dog\n"
SPLIT = (
    "path,labels,split\np0.jpg,cat,train\np1.jpg,dog,train\np2.jpg,cat,test\n"
    "p3.jpg,dog,database\n"
)


def labels_of(listing):
    return {
        name: {listing.class_names[c] for c in np.flatnonzero(row)}
        for name, row in zip(listing.image_ids, listing.labels, strict=True)
    }


def names_of(listing):
    return {
        part: {listing.image_ids[i] for i in rows}
        for part, rows in listing.parts.items()
    }


def test_a_folder_a_class(tmp_path):
    root = folders(tmp_path, inside="all/")
    write_images(root, ["all/dog/2019/may/9.PNG", "loose.jpg", "all/.hidden/x/1.jpg"])
    (root / "all/cat/Thumbs.db").write_bytes(b"x")
    (root / "all/cat/movie.mp4").write_bytes(b"x")
    listing = scan_photos([root])
    assert listing.class_names == ("cat", "dog")
    assert listing.labels.sum(axis=0).tolist() == [5, 6]
    assert labels_of(listing)["all/dog/2019/may/9.PNG"] == {"dog"}
    assert listing.parts == {}
    assert listing.layout == "a folder a class (2) in all"
    assert listing.notes == (
        "1 image in no folder of a class, left out: loose.jpg",
        "1 file of other kinds, left out: all/cat/movie.mp4",
    )


@pytest.mark.parametrize(
    "given, queries, train",
    [
        (("train", "val"), "val", "train"),
        (("Training", "validation", "Test"), "Test", "Training"),
        (("train", "query", "database"), "query", "train"),
    ],
)
def test_folders_of_a_split(tmp_path, given, queries, train):
    for part in given:
        folders(tmp_path, each=2, inside=f"{part}/")
    listing = scan_photos([tmp_path])
    assert listing.class_names == ("cat", "dog")
    parts = names_of(listing)
    assert {name.split("/")[0] for name in parts["query"]} == {queries}
    assert {name.split("/")[0] for name in parts["train"]} == {train}
    assert parts["database"] == set(listing.image_ids) - parts["query"]


def test_every_usual_name_of_a_jpeg_counts(tmp_path):
    names = ["cat/0.jpg", "cat/1.jpeg", "dog/2.JFIF", "dog/3.jpe"]
    write_images(tmp_path, names)
    listing = scan_photos([tmp_path])
    assert list(listing.image_ids) == names and not listing.notes


def test_a_class_may_be_called_train(tmp_path):
    folders(tmp_path, classes=("train", "bus", "car"))
    assert scan_photos([tmp_path]).class_names == ("bus", "car", "train")


@pytest.mark.parametrize(
    "text, name",
    [
        (CSV, "labels.csv"),
        (CSV.replace(",", "\t"), "x.tsv"),
        (CSV.replace(";", "|").replace(",", ";"), "x.CSV"),
        ("\ufeff" + CSV.replace("path,labels", "Filename,Class"), "x.csv"),
        (CSV.replace("cat;dog", '"cat;dog"').replace("\n", "\r\n"), "x.csv"),
        (
            '{"path": "p0.jpg", "labels": ["cat"]}\n{"path": "p1.jpg", "labels": '
            '["cat", "dog"]}\n\n{"path": "p2.jpg", "labels": "dog; old cat"}\n'
            '{"path": "p3.jpg", "labels": ["dog"]}',
            "x.jsonl",
        ),
    ],
)
def test_a_table_of_labels(tmp_path, text, name):
    listing = scan_photos([table(tmp_path, text, name)])
    assert labels_of(listing) == {
        "p0.jpg": {"cat"},
        "p1.jpg": {"cat", "dog"},
        "p2.jpg": {"dog", "old cat"},
        "p3.jpg": {"dog"},
    }
    assert listing.notes == ("2 images not listed, left out: p4.jpg, p5.jpg",)
    assert listing.layout.startswith(f"{name} (")


def test_columns_that_are_not_used_are_named(tmp_path):
    text = '{"label": ["x"], "path": "p0.jpg", "labels": ["dog"], "more": 1}\n'
    root = table(
        tmp_path, text + text.replace("p0", "p1").replace("dog", "cat"), "x.jsonl"
    )
    assert scan_photos([root]).notes[0] == "x.jsonl: columns not used: label, more"
    seen = preview("photos", root, threads=1, progress=False)
    assert "columns not used: label, more" in seen.lines[-1]


@pytest.mark.parametrize("word", ["spilt", "Splits", "splt", "sub-set"])
def test_a_misspelled_column_is_refused(tmp_path, word):
    text = SPLIT.replace("labels,split", f"labels,{word}")
    with pytest.raises(DataError, match=rf"{word}'; did you mean '(split|subset)'"):
        scan_photos([table(tmp_path, text)])
    also = text.replace(word, f"split,{word}").replace(",train", ",train,x")
    also = also.replace(",test", ",test,x").replace(",database", ",database,x")
    assert f"not used: {word}" in scan_photos([table(tmp_path / "b", also)]).notes[0]


def test_labels_with_commas_between_them_are_doubted(tmp_path):
    text = 'path,labels\np0.jpg,"bowl, broccoli"\np1.jpg,bowl\np2.jpg,cat\n'
    (note,) = scan_photos([table(tmp_path / "a", text, images=3)]).notes
    assert note.startswith(
        "1 of 3 classes with a comma in the name, as 'bowl, broccoli'"
    )
    assert note.endswith("; or | separate labels")
    lines = [f"p{i}.jpg,{kind}" for i, kind in enumerate("abcde")]
    text = "path,labels\n" + "\n".join([*lines, 'p5.jpg,"cat, house cat"\n'])
    assert scan_photos([table(tmp_path / "b", text)]).notes == ()


def test_a_table_may_name_the_split(tmp_path):
    listing = scan_photos([table(tmp_path, SPLIT)])
    assert names_of(listing) == {
        "train": {"p0.jpg", "p1.jpg"},
        "query": {"p2.jpg"},
        "database": {"p0.jpg", "p1.jpg", "p3.jpg"},
    }


def test_tables_may_be_the_split(tmp_path):
    table(tmp_path, "path,labels\np0.jpg,cat\np1.jpg,dog\n", "train.csv")
    table(tmp_path, "path,labels\np2.jpg,cat\n", "test.csv")
    listing = scan_photos([tmp_path])
    assert names_of(listing)["query"] == {"p2.jpg"}
    assert names_of(listing)["train"] == {"p0.jpg", "p1.jpg"}


def test_a_split_that_is_not_its_files_is_a_wrong_line(tmp_path):
    head = "path,labels,split\n"
    table(tmp_path, f"{head}p0.jpg,cat,train\np1.jpg,dog,Training\n", "train.csv")
    table(tmp_path, f"{head}p2.jpg,cat,\np3.jpg,dog,query\n", "test.csv")
    listing = scan_photos([tmp_path])
    assert names_of(listing)["query"] == {"p2.jpg", "p3.jpg"}
    table(tmp_path, f"{head}p0.jpg,cat,train\np1.jpg,dog,test\n", "train.csv")
    table(tmp_path, f"{head}p2.jpg,cat,odd\n", "test.csv")
    with pytest.raises(DataError) as caught:
        scan_photos([tmp_path])
    for line in (
        "train.csv: line 3: split 'test', and the file's name says train",
        "test.csv: line 2: split 'odd', and the file's name says query",
    ):
        assert line in str(caught.value)


def test_paths_may_be_below_images_and_of_windows(tmp_path):
    write_images(tmp_path / "images", ["a/0.jpg", "a/1.jpg"])
    (tmp_path / "t.csv").write_text("path,labels\na\\0.jpg,x\na\\1.jpg,y\n")
    listing = scan_photos([tmp_path])
    assert listing.image_ids == ("images/a/0.jpg", "images/a/1.jpg")
    assert listing.locate(1).is_file()


@pytest.mark.parametrize("how", ["parent", "two folders", "zip", "beside"])
def test_a_table_in_a_single_folder_is_read_as_in_the_folder_itself(tmp_path, how):
    """Its folders of images are no classes, from wherever the source is given."""
    inner = tmp_path / "out" / "more" / "photos"
    write_images(inner / "images", ["part1/0.jpg", "part1/1.jpg", "part2/2.jpg"])
    text = "path,labels\npart1/0.jpg,cat\npart1/1.jpg,dog\npart2/2.jpg,cat\n"
    (inner / "labels.csv").write_text(text)
    (inner / "classes.txt").write_text("dog\ncat\n")
    source = {"two folders": tmp_path / "out"}.get(how, inner.parent)
    if how == "zip":
        shutil.make_archive(tmp_path / "photos", "zip", inner.parent)
        source = tmp_path / "photos.zip"
    if how == "beside":
        write_images(source, ["loose.jpg"])
        (source / "counts.csv").write_text("photos,3\n")
    expected = scan_photos([inner])
    (place,) = places_of(source, tmp_path / "unpacked", progress=False)
    listing = scan_photos([place])
    assert listing.class_names == ("dog", "cat")
    assert listing.image_ids == expected.image_ids
    np.testing.assert_array_equal(listing.labels, expected.labels)
    assert all(listing.locate(i).is_file() for i in range(3))
    folder = "more/photos" if how == "two folders" else "photos"
    assert listing.layout == f"labels.csv (path, labels) in {folder}"
    lost = "1 image not in photos/, left out: loose.jpg"
    assert listing.notes == ((lost,) if how == "beside" else ())


def test_what_has_no_label_or_comes_again_is_noted(tmp_path):
    text = CSV + "p4.jpg, ;\np5.jpg,cat\np5.jpg,cat\n"
    listing = scan_photos([table(tmp_path, text)])
    assert "p4.jpg" not in listing.image_ids
    assert listing.notes == (
        "labels.csv: 1 repeated line, counted once (line 8)",
        "1 image without a label, left out: p4.jpg",
    )


def test_accents_are_the_same_however_they_are_typed(tmp_path):
    text = "path,labels\np0.jpg,caf\u00e9\np1.jpg,cafe\u0301\np2.jpg,dog\n"
    assert scan_photos([table(tmp_path, text)]).class_names == ("caf\u00e9", "dog")


def test_odd_but_usual_names_pass(tmp_path):
    names = ["a 1.jpg", "a\u202fPM.jpg", "\u732b\U0001f408\u200d\u2b1b.jpg"]
    write_images(tmp_path, [f"kat\u00a0ze/{name}" for name in names] + ["dog/1.jpg"])
    listing = scan_photos([tmp_path])
    assert listing.class_names == ("dog", "kat\u00a0ze")
    text = ",path,labels\n0,p0.jpg,cat\n1,p1.jpg,dog\n"  # as pandas writes it
    assert scan_photos([table(tmp_path / "t", text)]).parts == {}


def test_classes_may_be_ordered_and_named(tmp_path):
    folders(tmp_path, classes=("n02", "n01"))
    (tmp_path / "classes.txt").write_text("n02 cat, house cat\n\nn03 cow\nn01\n")
    listing = scan_photos([tmp_path])
    assert listing.class_names == ("cat, house cat", "n01")
    assert listing.notes == ("1 class of classes.txt without an image: n03 cow",)
    assert labels_of(listing)["n02/0.jpg"] == {"cat, house cat"}


def test_the_split_files_of_the_field_and_archives_are_recognized(tmp_path):
    listing = scan_photos([small_lists(tmp_path / "lists")])
    assert (listing.name, len(listing.parts["query"])) == ("photos", 2)
    source = folders(tmp_path / "photos", inside="mine/")
    (tmp_path / "download").mkdir()
    shutil.make_archive(tmp_path / "download" / "mine", "zip", source)
    with zipfile.ZipFile(tmp_path / "download" / "mine.zip", "a") as archive:
        archive.writestr("__MACOSX/mine/cat/._0.jpg", b"x")
    (tmp_path / "download" / "readme.txt").write_text("x")
    settings = _replaced(source=str(tmp_path / "download"))
    data = load_dataset(settings, tmp_path / "root", progress=False)
    assert data.class_names == ("cat", "dog")
    assert len(data.image_ids) == 10


def _replaced(**changes):
    return Data(**{**vars(DRAWN), **changes})


def odd_label(root):
    return table(root, CSV + "p4.jpg,b\x07d\n")


def two_splits(root):
    for part in ("train", "valdiation"):
        folders(root, each=2, inside=f"{part}/")


def no_text(root):
    table(root, CSV)
    (root / "labels.csv").write_bytes(b"path,labels\np0.jpg,caf\xe9\n")


def flat_split(root):
    folders(root, inside="train/")
    write_images(root, ["test/1.jpg", "test/2.jpg"])


BAD = {
    "empty": (lambda d: d.mkdir(), "no photos with labels there; expected a folder"),
    "no labels": (lambda d: write_images(d, ["1.jpg"]), "no photos with labels there"),
    "one class": (
        lambda d: folders(d, classes=("cat",)),
        "one class alone, cat (a folder a class (1)), so that there is nothing to tell",
    ),
    "one label": (
        lambda d: table(d, "path,labels\np0.jpg,cat\np1.jpg,cat\n"),
        "one class alone, cat (labels.csv (path, labels))",
    ),
    "no rows": (lambda d: table(d, "path,labels\n"), "no labels (labels.csv"),
    "no path": (
        lambda d: table(d, "photo,labels\np0.jpg,cat\n"),
        "labels.csv: no column path (there: 'photo', 'labels')",
    ),
    "no labels column": (
        lambda d: table(d, "path,kind\np0.jpg,cat\n"),
        "labels.csv: no column labels (there: 'path', 'kind')",
    ),
    "empty table": (lambda d: table(d, ""), "no column path and no labels (there: no"),
    "missing": (
        lambda d: table(d, CSV + "p8.jpg,cat\np9.jpg,dog\n"),
        "2 of 6 listed images are missing: p8.jpg, p9.jpg",
    ),
    "escape": (
        lambda d: table(d, CSV + "../p5.jpg,cat\n/etc/passwd,dog\nC:\\x.jpg,dog\n"),
        "labels.csv: line 6: expected a path below the folder, got '../p5.jpg', "
        "line 7: expected a path below the folder, got '/etc/passwd', line 8: expected",
    ),
    "all at once": (
        lambda d: table(d, CSV + ",cat\np9.jpg,cat\np0.jpg,dog\np4.jpg\n"),
        "labels.csv: line 6: expected a path below the folder, got '', line 8: "
        "'p0.jpg' again, with other labels or another split (all labels of an image "
        "belong on one line), line 9: expected 2 columns; 1 image missing: p9.jpg",
    ),
    "unknown split": (
        lambda d: table(d, SPLIT + "p4.jpg,cat,tset\np5.jpg,cat,holdout\n"),
        "line 6: unknown split names 'holdout', 'tset'; known: train, val, test (or",
    ),
    "half a split": (
        lambda d: table(d, SPLIT + "p4.jpg,cat,\n"),
        "1 image without split: p4.jpg",
    ),
    "no queries": (
        lambda d: table(d, SPLIT.replace("test", "train")),
        "the split names database, train alone, and no queries (test or val)",
    ),
    "unknown folder": (two_splits, "unknown split names 'valdiation'; known: train"),
    "flat split": (flat_split, "2 images of a split in no folder of a class: test/1"),
    "odd label": (odd_label, "names with control characters, or no UTF-8: 'b\\x07d'"),
    "odd folder": (
        lambda d: folders(d, classes=("cat", "do\ng")),
        "names with control characters, or no UTF-8: 'do\\ng'",
    ),
    "no text": (no_text, "labels.csv: not UTF-8 text"),
    "no JSON": (
        lambda d: table(
            d, '{"path": "p0.jpg", "labels": [["a"]]}\n{\n[1]\n', "x.jsonl"
        ),
        'got ["a"], line 2: no JSON (Expecting property name',
    ),
    "odd JSON": (
        lambda d: table(d, '{"path": 7.5, "labels": true}\n[1]\n', "x.jsonl"),
        "x.jsonl: line 1: expected a text, got 7.5, line 2: expected an object in br",
    ),
    "two tables": (
        lambda d: (table(d, CSV), table(d, CSV, "other.csv")),
        "several tables of images (labels.csv, other.csv): leave one there, or name",
    ),
    "classes": (
        lambda d: (folders(d), (d / "classes.txt").write_text("cat\n")),
        "classes.txt: lacks 'dog'",
    ),
    "class twice": (
        lambda d: (folders(d), (d / "classes.txt").write_text("cat\ndog\ncat\n")),
        "classes.txt: names a class twice: 'cat'",
    ),
}


@pytest.mark.parametrize("make, message", BAD.values(), ids=BAD)
def test_a_bad_source_is_refused_in_a_line(tmp_path, make, message):
    source, root = tmp_path / "source", tmp_path / "root"
    make(source)
    with pytest.raises(DataError) as caught:
        load_dataset(_replaced(source=str(source)), root, progress=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not root.exists()


def test_what_is_wrong_in_a_folder_is_said_whatever_lies_beside_it(tmp_path):
    source = table(tmp_path / "source", CSV.replace("p3", "p8"))
    with tarfile.open(source / "backup.tar", "w") as archive:
        link = tarfile.TarInfo("latest")
        link.type, link.linkname = tarfile.SYMTYPE, "2019"
        archive.addfile(link)
    with pytest.raises(DataError, match="1 of 4 listed images are missing: p8.jpg"):
        preview("photos", source, threads=1, progress=False)
    (source / "labels.csv").unlink()  # nothing is recognized there any more
    with pytest.raises(DataError, match="backup.tar: 'latest' is a link"):
        preview("photos", source, threads=1, progress=False)


def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    folders(tmp_path / "source")
    os.rename(
        tmp_path / "source/cat/0.jpg", os.fsencode(tmp_path) + b"/source/cat/\xff"
    )
    os.rename(
        os.fsencode(tmp_path) + b"/source/cat/\xff",
        os.fsencode(tmp_path) + b"/source/cat/\xff.jpg",
    )
    with pytest.raises(DataError, match=r"no UTF-8: 'cat/\\udcff.jpg'"):
        scan_photos([tmp_path / "source"])


def test_the_split_is_drawn_by_the_settings(tmp_path):
    source = folders(tmp_path / "source", each=20)
    (source / "cat/0.jpg").write_bytes(encode(photo(7, 12, 10)))
    (source / "cat/1.jpg").write_bytes(encode(photo(7, 12, 10)))
    settings = _replaced(source=str(source))
    data = load_dataset(settings, tmp_path / "root", progress=False)
    assert data.split.name == "photos-4q-36t-seed0"
    assert data.labels[data.split.query].sum(axis=0).tolist() == [2, 2]
    assert data.read(0).shape[:2] == (19, 16)  # of 12 x 10, enlarged
    changed = _replaced(num_queries=10, num_database=20, train_fraction=0.5)
    data = load_dataset(changed, tmp_path / "root", progress=False)
    assert data.split.name == "photos-10q-10t-20d-seed0"
    for seed in range(20):  # copies are never queries
        settings = _replaced(num_queries=20, split_seed=seed)
        split = load_dataset(settings, tmp_path / "root", progress=False).split
        queries = {data.image_ids[i] for i in split.query}
        assert not queries & {"cat/0.jpg", "cat/1.jpg"}


def test_copies_alone_make_no_split(tmp_path):
    source = folders(tmp_path / "source")
    for path in source.rglob("*.jpg"):
        path.write_bytes(encode(photo(7, 12, 10)))
    with pytest.raises(DataError, match="only 0 images can be queries, since"):
        settings = _replaced(source=str(source))
        load_dataset(settings, tmp_path / "root", progress=False)
    found = list(diagnose(source, threads=1))
    for start in ("data.num_queries=1: only 0 images", "all images have the same"):
        assert any(f.defect and f.text.startswith(start) for f in found)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_queries": 11}, "num_queries=11: only 8 images can be queries"),
        ({"num_train": 10}, "num_train=10: there are 9 images that are no queries"),
        ({"num_database": 10}, "num_database=10: there are 9 images that are no"),
        ({"num_queries": 2, "query_fraction": 0.2}, "query_fraction=0.2 is not used"),
        ({"split": "released"}, "data.split=released is not used with photos"),
        ({"train_fraction": 0.0}, "has no train images"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, changes, message):
    source = folders(tmp_path / "source")
    with pytest.raises(DataError, match=message):
        settings = _replaced(source=str(source), **changes)
        load_dataset(settings, tmp_path / "root", progress=False)


def test_a_named_split_is_not_drawn(tmp_path):
    source = table(tmp_path / "source", SPLIT)
    settings = _replaced(source=str(source))
    data = load_dataset(settings, tmp_path / "root", progress=False)
    assert (data.split.name, len(data.split.query)) == ("photos", 1)
    for key, value in (("split_seed", 1), ("num_queries", 2), ("query_fraction", 0.2)):
        with pytest.raises(DataError, match=f"data.{key}={value} is not used with"):
            load_dataset(_replaced(**{key: value}), tmp_path / "root", progress=False)


def test_what_was_left_out_is_a_warning(tmp_path, caplog):
    """The programs show warnings alone."""
    write_images(folders(tmp_path / "source"), ["loose.jpg"])
    settings = _replaced(source=str(tmp_path / "source"))
    load_dataset(settings, tmp_path / "root", progress=False)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    lost = "1 image in no folder of a class, left out: loose.jpg"
    assert said == [("WARNING", lost)]


def test_what_is_there_is_said_in_five_lines(tmp_path):
    source = folders(tmp_path, each=10)
    write_images(source, ["dog/wide.jpg"], size=(20, 40))
    (source / "cat/note.txt").write_text("x")
    seen = preview("photos", source, threads=1, progress=False)
    assert seen.unusable == []
    assert seen.lines == [
        f"layout: a folder a class (2), in {source}",
        "images: 21, 10 x 12 to 40 x 20 pixels (median short side 10)",
        "classes: 2, 1.00 labels an image, 10 to 11 images each, rarest first: cat 10, "
        "dog 11",
        "split: 2 query, 19 database and 19 training images, drawn with "
        "data.split_seed=0; chance MAP 0.5000, ceiling 1.0000",
        "notes: 1 file of other kinds, left out: cat/note.txt; wrong: nothing",
    ]
    write_images(source, ["zebra/0.jpg"])
    seen = preview("photos", source, threads=1, progress=False)
    assert "rarest first: zebra 1, cat 10" in seen.lines[2]
    assert (
        "1 class with a single image, which finds nothing of its class as a query, or "
        "is never one: zebra" in seen.lines[4]
    )
    (source / "cat/0.jpg").write_bytes(b"<html>")
    seen = preview("photos", source, threads=1, progress=False)
    assert "wrong: 1 image not usable: cat/0.jpg: not a readable image" in seen.lines[4]
    assert len(seen.unusable) == 1


@needs_shared_data
def test_photos_of_cifar_in_folders(tmp_path):
    for kind, pictures in layouts.cifar_photos(6).items():
        (tmp_path / kind).mkdir()
        for number, pixels in enumerate(pictures):
            data = encode(pixels, "PNG")
            (tmp_path / kind / f"{number}.png").write_bytes(data)
    seen = preview("photos", tmp_path, threads=1, progress=False)
    assert seen.lines[0].startswith("layout: a folder a class (10), in ")
    assert seen.lines[1] == "images: 60, 32 x 32 pixels (median short side 32)"
    assert seen.lines[3].startswith("split: 6 query, 54 database and 54 training")
    assert seen.lines[4] == "notes: nothing left out; wrong: nothing"


@needs_shared_data
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_photos_of_coco_in_a_table(tmp_path, kind):
    """Reference: the labels that the annotations themselves list."""
    folder = SHARED / "coco-mini"
    content = json.loads((folder / "annotations/instances_val2014.json").read_text())
    kinds = {category["id"]: category["name"] for category in content["categories"]}
    found = {image["id"]: set() for image in content["images"]}
    for box in content["annotations"]:
        found[box["image_id"]].add(kinds[box["category_id"]])
    files = {image["id"]: image["file_name"] for image in content["images"]}
    shutil.copytree(folder / "val2014", tmp_path / "images")
    rows = [(files[i], sorted(labels)) for i, labels in found.items()]
    if kind == "csv":
        text = "".join(f"{file},{'|'.join(labels)}\n" for file, labels in rows)
        (tmp_path / "photos.csv").write_text(f"path,labels\n{text}")
    else:
        lines = [json.dumps({"path": f, "labels": labels}) for f, labels in rows]
        (tmp_path / "photos.jsonl").write_text("\n".join(lines))
    listing = scan_photos([tmp_path])
    oracle = {f"images/{file}": set(labels) for file, labels in rows if labels}
    assert labels_of(listing) == oracle
    settings = _replaced(source=str(tmp_path), image_size=32)
    data = load_dataset(settings, tmp_path / "../root", progress=False)
    assert len(data.split.query) == round(0.1 * len(oracle))
    assert data.labels[data.split.database].any(axis=0).all()


@pytest.mark.parametrize("inside", ["", "animals/"])
def test_captions_beside_classes_are_no_list(tmp_path, inside):
    """As Hugging Face has them; what may be a list with a mistake is refused."""
    root = folders(tmp_path / "source", inside=inside)
    place = root / inside
    text = '{"file_name": "cat/0.jpg", "text": "a cat"}\n'
    (place / "metadata.jsonl").write_text(text)
    listing = scan_photos([root])
    assert len(listing.image_ids) == 10 and listing.class_names == ("cat", "dog")
    (place / "list.csv").write_text("path,lables\ncat/0.jpg,cat\n")
    with pytest.raises(DataError, match=r"list.csv: no column labels"):
        scan_photos([root])
    (place / "list.csv").write_bytes(b"path,labels\ncat/0.jpg,caf\xe9\n")
    with pytest.raises(DataError, match=r"list.csv: not UTF-8"):
        scan_photos([root])
