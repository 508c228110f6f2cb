"""A corpus of damaged files of every kind that is read: each ends in one line.

Reference for prepared data: labels, split, images and digest of the undamaged folder;
what is neither refused nor equal to them would be a silently wrong number.
"""

import json
import shutil
import zipfile

import numpy as np
import pytest
from absl import flags

from cgat_jax.config import Data
from cgat_jax.data import SCANS, load_dataset
from cgat_jax.data.prepare import manifest, prepared, shards
from cgat_jax.errors import InputError
from experiments import check_data
from tests.data import layouts
from tests.data.sources import (
    as_format_1,
    small_coco,
    small_lists,
    write_images,
    write_lists,
)

NESTED = b"[" * 100_000 + b"]" * 100_000


def flipped(at):
    def damage(content, other):
        data = bytearray(content)
        for place in range(int(at * len(data)), len(data), max(1, len(data) // 7)):
            data[place] ^= 1 << (place % 8)
        return bytes(data)

    return damage


DAMAGES = {
    "flipped near the start": flipped(0.01),
    "flipped in the middle": flipped(0.55),
    "last byte flipped": lambda content, other: content[:-1] + bytes([content[-1] ^ 4]),
    "cut": lambda content, other: content[: len(content) // 2],
    "last byte cut": lambda content, other: content[:-1],
    "empty": lambda content, other: b"",
    "null": lambda content, other: b"null",
    "list": lambda content, other: b"[]",
    "nested": lambda content, other: NESTED,
    "object of nested": lambda content, other: b'{"format": 1, "a": ' + NESTED + b"}",
    "infinite": lambda content, other: b'{"format": 1, "image_size": Infinity}',
    "other": lambda content, other: other,
    "binary": lambda content, other: bytes(range(256)) * 9,
    "missing": None,
}
FEW = ("flipped in the middle", "cut", "empty", "null", "nested", "missing")
some_damages = pytest.mark.parametrize(
    "damages",
    [
        pytest.param(FEW, id="few"),
        pytest.param(tuple(DAMAGES), id="all", marks=pytest.mark.long),
    ],
)


def check(where, use):
    """Runs ``use``; what it returns, or None where it refuses in a line with a path."""
    try:
        result = use()
    except InputError as error:
        lines = str(error).splitlines()
        if "not usable" in lines[0]:
            assert len(lines) > 1
        else:
            assert len(lines) == 1 and where in lines[0], error
        result = None
    return result


def doctor(capsys, folder, name=None):
    parsed = flags.FlagValues()
    check_data.define_flags(parsed)
    given = [f"--data={folder}", *([f"--dataset={name}"] if name else [])]
    parsed(["check_data", *given])
    code = check_data.main(parsed)
    printed = capsys.readouterr()
    if code == 2:
        assert printed.err.count("\n") == 1 and str(folder) in printed.err, printed.err
    else:
        assert not printed.err
    return code


def change(path, name, other):
    damage = DAMAGES[name]
    if damage is None:
        path.unlink()
        return
    content = damage(path.read_bytes(), other)
    path.unlink()  # not through a link to the part that it was
    path.write_bytes(content)


def state(root, **settings):
    """All that a run gets from a prepared folder; last, the digest of the images."""
    sizes = {} if "split" in settings else {"num_queries": 2, "num_train": 3}
    data = Data(name="flickr25k", image_size=8, **sizes | settings)
    dataset = load_dataset(data, root, progress=False)
    images = [dataset.read(i).tobytes() for i in range(len(dataset.image_ids))]
    sizes, digest = dataset.sizes().tobytes(), dataset.digest
    told = (digest.labels, digest.image_ids, digest.split)
    return dataset.labels.tobytes(), images, sizes, told, digest.contents


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Prepared folders of 8 photos with a released split, of both formats."""
    folder = tmp_path_factory.mktemp("prepared")
    names = layouts.FLICKR_LABELS
    labels = {name: [i % 8 + 1] for i, name in enumerate(names)}
    source = layouts.flickr(folder / "source", layouts.noise_photos(8), labels)
    load = Data(name="flickr25k", source=str(source), image_size=8)
    load.num_queries, load.num_train = 2, 3
    load_dataset(load, folder / "new", progress=False)
    stored = prepared.open_prepared(folder / "new", "flickr25k", 8)
    rows = [
        (name, " ".join(map(str, row)))
        for name, row in zip(stored.image_ids, stored.labels, strict=True)
    ]
    write_lists(folder / "lists", {"test": rows[:2], "train": rows[2:]})
    state(folder / "new", split="released", splits=str(folder / "lists"))
    shutil.copytree(folder / "new", folder / "old")
    as_format_1(folder / "old")
    return folder


PREPARED = (
    *("prepared.json", "arrays.npz", "contents.npy", "released.npz", "source.json"),
    *("images/features.json", "images/dataset_info.json", "images/*record*"),
    ".cgat_jax.json",
)


@some_damages
@pytest.mark.parametrize("version", ["new", "old"])
@pytest.mark.parametrize("file", PREPARED)
def test_prepared_folders(tmp_path, folders, capsys, version, file, damages):
    """Format 1 has no digest of its content digests: others of them are other data."""
    if not list((folders / version).glob(file)):
        pytest.skip("format 1 has no such file")
    expected = state(folders / version, split="released")
    refused = 0
    told = -1 if (version, file) == ("old", "contents.npy") else None
    for name in damages:
        root = tmp_path / name.replace(" ", "-")
        shutil.copytree(folders / version, root)
        (path,) = root.glob(file)
        others = ("arrays.npz", "prepared.json")
        other = root / others[path.name == others[0]]
        change(path, name, other.read_bytes())
        found = check(str(root), lambda: state(root, split="released"))  # noqa: B023
        assert found is None or found[:told] == expected[:told], name
        refused += found is None
        doctor(capsys, root)
        shutil.rmtree(root)
    metadata = file in (".cgat_jax.json", "source.json")
    metadata |= version == "old" and file.startswith("images/") and "json" in file
    assert refused == 0 if metadata else refused >= len(damages) // 2


def test_a_flipped_bit_of_any_image_is_noticed(tmp_path, folders, capsys):
    """ArrayRecord's own checksums find it; what they do not cover decides nothing."""
    shutil.copytree(folders / "new", tmp_path / "root")
    (path,) = (tmp_path / "root" / "images").glob("*record*")
    expected, content = state(tmp_path / "root"), path.read_bytes()
    start = content.index(b"im1.jpg") - 100
    noticed = 0
    for at in range(start, start + 2_000, 41):
        data = bytearray(content)
        data[at] ^= 1 << (at % 8)
        path.unlink()
        path.write_bytes(data)
        found = check(str(path.parent.parent), lambda: state(tmp_path / "root"))
        assert found in (None, expected)
        noticed += found is None
    assert noticed >= 40
    assert doctor(capsys, tmp_path / "root") == 1


def test_files_of_two_parts_that_changed_places_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_IMAGES", 4)
    settings = Data(name="lists", source=str(small_lists(tmp_path / "s")), image_size=8)
    load_dataset(settings, tmp_path / "root", progress=False)
    settings.source = ""
    first, second = sorted((tmp_path / "root" / "images").glob("*record*"))
    one, two = first.read_bytes(), second.read_bytes()
    for path, content in ((first, two), (second, one)):
        path.unlink()
        path.write_bytes(content)
    with pytest.raises(InputError, match="record.*not as it was written.*choose"):
        load_dataset(settings, tmp_path / "root", progress=False)
    as_format_1(tmp_path / "root")  # which has no digests of its files
    dataset = load_dataset(settings, tmp_path / "root", progress=False)
    with pytest.raises(InputError, match="image images/d3.jpg is damaged .*its place"):
        dataset.read(0)


def test_images_of_another_preparation_are_noticed(tmp_path, monkeypatch):
    """Of the same names and labels; a whole file, each of whose records is sound."""
    read, file_digest = [], manifest.file_digest
    monkeypatch.setattr(
        manifest, "file_digest", lambda path: read.append(path) or file_digest(path)
    )
    settings, files = Data(name="lists", image_size=8), []
    for name in ("a", "b"):
        settings.source = str(small_lists(tmp_path / name))
        if name == "b":  # other pixels
            write_images(tmp_path / "b", ["images/d3.jpg"])
        load_dataset(settings, tmp_path / f"root {name}", progress=False)
        files += (tmp_path / f"root {name}" / "images").glob("*record*")
    settings.source, root = "", tmp_path / "root a"
    read.clear()
    load_dataset(settings, root, progress=False)
    assert files[0] not in read  # once found sound, it is not read again
    first, other = (path.read_bytes() for path in files)
    assert first != other
    files[0].write_bytes(other)
    with pytest.raises(InputError, match="record.*not as it was written.*choose"):
        load_dataset(settings, root, progress=False)
    files[0].write_bytes(first)
    load_dataset(settings, root, progress=False)


SOURCES = {
    "lists": (small_lists, ("train_img.txt", "test_label.txt", "images/d0.jpg")),
    "coco": (small_coco, ("annotations/instances_val2014.json",)),
    "flickr25k": (
        lambda folder: layouts.flickr(folder, layouts.noise_photos(6), {"sky": [1]}),
        ("annotations/sky.txt",),
    ),
    "nus_wide": (
        lambda folder: layouts.nus(folder, layouts.noise_photos(6), {"sky": [1, 2]}),
        ("Concepts81.txt", "ImageList/Imagelist.txt", "*/AllLabels/Labels_sky.txt"),
    ),
    "cifar10": (
        lambda folder: layouts.cifar_python(folder, cifar()),
        ("*/data_batch_2",),
    ),
    "cifar10 binary": (
        lambda folder: layouts.cifar_binary(folder, cifar()),
        ("*/test_batch.bin",),
    ),
    "lists in tar.gz": (lambda folder: packed(folder, "tar"), ("a.tar.gz",)),
    "lists in zip": (lambda folder: packed(folder, "zip"), ("a.zip",)),
}


def cifar():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3072), dtype=np.uint8)
    return {
        name: (pixels[i], list(range(10)))
        for i, name in enumerate(layouts.CIFAR_BATCHES)
    }


def packed(folder, kind):
    folder.mkdir()
    source = small_lists(folder.parent / "unpacked")
    if kind == "tar":
        layouts.tar_of(source, folder / "a.tar.gz")
    else:
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(source.rglob("*.*")):
                archive.write(path, path.relative_to(source))
    return folder


@some_damages
@pytest.mark.parametrize(
    "kind, file", [(kind, f) for kind, (_, files) in SOURCES.items() for f in files]
)
def test_sources(tmp_path, capsys, kind, file, damages):
    make, _ = SOURCES[kind]
    source, name = make(tmp_path / "source"), kind.split(" ")[0]
    shutil.copytree(source, tmp_path / "kept")
    refused = 0
    for damage in damages:
        shutil.rmtree(source)
        shutil.copytree(tmp_path / "kept", source)
        (path,) = source.glob(file)
        change(path, damage, b"1 0 1\n" if file.endswith("img.txt") else b"a.jpg\n")
        root = tmp_path / f"root {damage}"

        def use(root=root):
            prepared.prepare(
                SCANS[name], source, root, image_size=8, threads=2, progress=False
            )
            return True

        refused += check(str(source), use) is None
        doctor(capsys, source, name)
    assert refused >= len(damages) // 3


@some_damages
@pytest.mark.parametrize("file", ["placed.json", "parts/*.json", ".cgat_jax.json"])
def test_unfinished_work(tmp_path, monkeypatch, file, damages):
    """Damaged work is made again, or refused by name; the result is the same."""
    source = small_lists(tmp_path / "source")

    def fill(root):
        prepared.prepare(
            SCANS["lists"], source, root, image_size=8, threads=2, progress=False
        )
        content = json.loads((root / "prepared.json").read_text())
        return content["arrays"], content["contents"], content["files"]

    def interrupt(*arguments):
        raise KeyboardInterrupt

    expected = fill(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "remember", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / "kept")
    for name in damages:
        root = tmp_path / name.replace(" ", "-")
        shutil.copytree(tmp_path / "kept", root)
        (path,) = (root / "incomplete").glob(file)
        change(path, name, b"{}")
        assert check(str(root), lambda: fill(root)) in (None, expected)  # noqa: B023
