"""Small source folders that the tests make themselves, and where shared data lie."""

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cgat_jax.data.dataset import Dataset, make_split
from cgat_jax.data.digest import digest_data
from cgat_jax.data.prepare.arrays import load_arrays
from cgat_jax.files.locks import LOCK
from cgat_jax.files.ownership import MARK

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"no shared data at {SHARED}"
)


def encode(pixels, kind="JPEG", **options):
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo(seed, height, width):
    """Smooth colors, so that JPEG changes little."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def write_images(folder, names, size=(12, 10)):
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(photo(seed, *size)))


def write_lists(folder, parts):
    """``parts``: {"train": [(path, "1 0"), ...], ...} in the files' own names."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        for kind, column in (("img", 0), ("label", 1)):
            text = "".join(row[column] + "\n" for row in rows)
            (folder / f"{part}_{kind}.txt").write_text(text)


def small_lists(folder, size=(12, 10)):
    """Eight images, three classes; training images repeat database images."""
    database = [(f"images/d{i}.jpg", ("1 0 0", "0 1 1")[i % 2]) for i in range(6)]
    test = [("images/q0.jpg", "1 1 0"), ("images/q1.jpg", "0 0 1")]
    train = database[3:]
    write_lists(folder, {"train": train, "test": test, "database": database})
    write_images(folder, [name for name, _ in database + test], size)
    return folder


def small_coco(folder):
    """Three photos a folder, one of them without annotation; four categories."""
    categories = [(7, "zebra"), (3, "apple"), (5, "person"), (90, "bus")]
    objects = {0: (7, 5, 5), 1: (3,), 2: ()}
    (folder / "annotations").mkdir(parents=True)
    for year in ("train2014", "val2014"):
        names = {i: f"COCO_{year}_{i:012d}.jpg" for i in objects}
        write_images(folder / year, names.values(), size=(40, 50))
        content = {
            "images": [{"id": i, "file_name": name} for i, name in names.items()],
            "categories": [{"id": i, "name": name} for i, name in categories],
            "annotations": [
                {"id": 0, "image_id": i, "category_id": kind}
                for i, kinds in objects.items()
                for kind in kinds
            ],
        }
        path = folder / "annotations" / f"instances_{year}.json"
        path.write_text(json.dumps(content))
    return folder


def as_format_1(root):
    """Turns a prepared folder into what earlier versions wrote, but for the chroma."""
    path = root / "prepared.json"
    kept = ("name", "image_size", "source", "notes", "class_names", "image_ids")
    content = json.loads(path.read_text())
    content = {key: content[key] for key in kept}
    content |= {"format": 1, "num_images": len(content["image_ids"])}
    path.write_text(json.dumps(content))
    arrays = load_arrays(root / "arrays.npz")
    arrays.pop("sizes")
    np.savez(root / "arrays.npz", **arrays)
    np.save(root / "contents.npy", np.load(root / "contents.npy"))
    for name in (MARK, LOCK, "source.json"):
        (root / name).unlink()
    (root / ".lock").touch()
    return root


def bytes_below(folder):
    """{path: content} of all files, and the folders; links are not followed."""
    return {
        str(path.relative_to(folder)): (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else "folder"
        )
        for path in sorted(folder.rglob("*"))
    }


def in_memory(images, labels=None, train=None):
    """A data set of given arrays; every image is query, database and training image."""
    count = len(images)
    everything = np.arange(count)
    image_ids = [f"image {i}" for i in range(count)]
    labels = np.eye(count, dtype=np.uint8) if labels is None else labels
    split = make_split(
        "all",
        image_ids,
        train=everything if train is None else np.asarray(train),
        query=everything,
        database=everything,
    )
    content = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    return Dataset(
        name="memory",
        class_names=tuple(str(i) for i in range(labels.shape[1])),
        labels=labels,
        image_ids=image_ids,
        read=lambda position: images[position],
        split=split,
        digest=digest_data(labels, image_ids, split.sha256, content),
    )
