"""Nothing that prepare and check_data did not make is removed or overwritten."""

import os
import shutil

import numpy as np
import pytest
from absl import flags

from cgat_jax.config import Data
from cgat_jax.data import SCANS, load_dataset
from cgat_jax.data.prepare import prepared
from cgat_jax.errors import ForeignFilesError
from cgat_jax.files.locks import LOCK
from cgat_jax.files.ownership import MARK, claim_folder
from experiments import check_data, prepare
from tests.data import layouts
from tests.data.sources import (
    as_format_1,
    bytes_below,
    photo,
    small_lists,
    write_images,
    write_lists,
)

FILES = (
    *("arrays.npz", "contents.npy", "prepared.json", "released.npz", "source.json"),
    *(".lock", ".cgat_jax.lock.txt", "incomplete-released.npz", "photo.jpg"),
)
FOLDERS = ("images", "incomplete", "incomplete/parts", "incomplete/unpacked")


def main(program, **given):
    parsed = flags.FlagValues()
    program.define_flags(parsed)
    parsed(["program", *(f"--{name}={value}" for name, value in given.items())])
    return program.main(parsed)


def put(folder, name):
    """A user's file of that name, or photos in a folder of that name."""
    path = folder / name
    if name in FOLDERS:
        write_images(path, ["holiday.jpg", "hashing_images-part_00000.array_record"])
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine: " + name.encode())


@pytest.fixture
def source(tmp_path):
    return small_lists(tmp_path / "source")


def refused(capsys, source, out):
    assert main(prepare, dataset="lists", source=source, out=out, image_size=8) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(out) in error, error
    return error


@pytest.mark.parametrize("names", [*((n,) for n in FILES + FOLDERS), FILES + FOLDERS])
def test_a_root_with_other_files_is_refused_and_stays(tmp_path, source, capsys, names):
    out = tmp_path / "out"
    for name in names:
        put(out, name)
    before = bytes_below(tmp_path)
    assert "not empty, and not prepared data" in refused(capsys, source, out)
    assert bytes_below(tmp_path) == before
    main(check_data, data=out)
    main(check_data, data=out, dataset="coco")
    with pytest.raises(ForeignFilesError):
        load_dataset(
            Data(name="lists", source=str(source), image_size=8), out, progress=False
        )
    assert bytes_below(tmp_path) == before


def interrupted(source, root, monkeypatch):
    """A preparation that ended when the images were in place."""

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared, "write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            prepared.prepare(
                SCANS["lists"], source, root, image_size=8, threads=2, progress=False
            )
    return root


@pytest.mark.parametrize(
    "change",
    [
        lambda images: put(images, "photo.jpg"),
        lambda images: (images / "features.json").write_text("mine"),
        lambda images: (images / "inner").mkdir(),
        lambda images: (shutil.rmtree(images), put(images.parent, "images")),
        lambda images: (shutil.rmtree(images), images.write_text("a file of mine")),
        lambda images: (
            images.rename(images.parent.parent / "elsewhere"),
            images.symlink_to("../elsewhere"),
        ),
        lambda images: (images.parent / "incomplete" / "placed.json").unlink(),
    ],
)
def test_images_in_the_way_of_an_interrupted_preparation_stay(
    tmp_path, source, capsys, monkeypatch, change
):
    root = interrupted(source, tmp_path / "root", monkeypatch)
    change(root / "images")
    before = bytes_below(tmp_path)
    assert "images: not made by this program" in refused(capsys, source, root)
    after = bytes_below(tmp_path)
    assert {k: after[k] for k in before if LOCK not in k} == {
        k: before[k] for k in before if LOCK not in k
    }


def test_unfinished_work_of_others_stays(tmp_path, source, capsys):
    root = tmp_path / "root"
    claim_folder(root, "data")
    put(root, "incomplete")
    before = bytes_below(root / "incomplete")
    assert "incomplete: not empty, and not unfinished" in refused(capsys, source, root)
    assert bytes_below(root / "incomplete") == before


def test_files_beside_prepared_data_stay(tmp_path, source, capsys):
    root = tmp_path / "root"
    given = {"dataset": "lists", "source": source, "out": root, "image_size": 8}
    assert main(prepare, **given) == 0
    for name in ("notes.txt", "images/mine.jpg", "mine/prepared.json", ".lock"):
        put(root, name)
    before = bytes_below(root)
    os.utime(source / "train_img.txt", (1, 1))
    assert main(prepare, **given) == 0
    assert main(check_data, data=root) == 0
    after = bytes_below(root)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"source.json", LOCK}
    capsys.readouterr()


@pytest.mark.parametrize("place", ["same", "below", "above", "deep below"])
@pytest.mark.parametrize("link", [False, True])
def test_a_root_that_is_not_apart_from_the_source_is_refused(
    tmp_path, capsys, place, link
):
    source = small_lists(tmp_path / "user" / "photos" / "lists")
    out = {
        "same": source,
        "below": source / "prepared",
        "deep below": source / "images" / "a" / "b",
        "above": source.parent,
    }[place]
    if link:
        (tmp_path / "link").symlink_to(tmp_path / "user")
        out = tmp_path / "link" / out.relative_to(tmp_path / "user")
    before = bytes_below(tmp_path)
    assert "choose a folder beside it" in refused(capsys, source, out)
    assert bytes_below(tmp_path) == before
    settings = Data(name="lists", source=str(source), image_size=8)
    with pytest.raises(ForeignFilesError, match="so that the originals stay"):
        load_dataset(settings, out, progress=False)
    assert bytes_below(tmp_path) == before


def test_a_root_around_an_archive_is_refused(tmp_path, source, capsys):
    out = tmp_path / "out"
    out.mkdir()
    archive = layouts.tar_of(source, out / "lists.tar.gz")
    before = bytes_below(tmp_path)
    assert "holds the source" in refused(capsys, archive, out)
    assert bytes_below(tmp_path) == before


def test_a_released_split_is_added_to_our_own_folders_alone(tmp_path, capsys):
    names = layouts.FLICKR_LABELS
    labels = {name: [i % 5 + 1] for i, name in enumerate(names)}
    source = layouts.flickr(tmp_path / "source", layouts.noise_photos(5), labels)
    root, lists = tmp_path / "root", tmp_path / "lists"
    given = {"dataset": "flickr25k", "source": source, "out": root}
    assert main(prepare, **given) == 0
    stored = prepared.open_prepared(root, "flickr25k", 256)
    rows = [
        (name, " ".join(map(str, row)))
        for name, row in zip(stored.image_ids, stored.labels, strict=True)
    ]
    write_lists(lists, {"test": rows[:1], "train": rows[1:], "database": rows[1:]})
    as_format_1(root)
    put(root, "released.npz")
    before = bytes_below(tmp_path)
    assert main(prepare, **given, splits=lists) == 2
    after = bytes_below(tmp_path)
    assert {name: after[name] for name in before} == before
    assert "released.npz: damaged" in capsys.readouterr().err
    (root / "released.npz").unlink()
    assert main(prepare, **given, splits=lists) == 0
    assert (root / MARK).is_file()


def test_what_lies_beside_stays_when_a_source_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    mine = tmp_path / "mine"
    mine.mkdir()
    before = bytes_below(tmp_path)
    assert main(prepare, dataset="lists", source=tmp_path / "empty", out=mine) == 2
    assert bytes_below(tmp_path) == before
    capsys.readouterr()


def test_photos_of_a_folder_named_as_ours_survive_bit_by_bit(tmp_path, source, capsys):
    """The case that lost photos: ``--out`` already holds ``images``."""
    out = tmp_path / "out"
    write_images(out / "images", [f"{i}.jpg" for i in range(3)], (20, 20))
    np.save(out / "contents.npy", photo(0, 4, 4))
    before = bytes_below(out)
    refused(capsys, source, out)
    assert bytes_below(out) == before
