"""The original layouts of the data sets, in small, made of real photos."""

import functools
import io
import pickle
import tarfile

import numpy as np
from PIL import Image

from tests.data.sources import SHARED, encode, photo

CIFAR_ARCHIVE = SHARED / "cifar10.tar.xz"
CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CIFAR_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


@functools.cache
def cifar_photos(each):
    """{class name: [each, 32, 32, 3]} of real photos, from the front of the archive."""
    photos = {name: [] for name in CIFAR_CLASSES}
    with tarfile.open(CIFAR_ARCHIVE, "r|xz") as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                found = photos[member.name.split("/")[-2]]
                if len(found) < each:
                    data = archive.extractfile(member).read()
                    found.append(np.asarray(Image.open(io.BytesIO(data))))
            if all(len(found) == each for found in photos.values()):
                break
    return {name: np.array(found) for name, found in photos.items()}


def cifar_batches(each=6):
    """{batch: (pixels uint8 [n, 3072], classes)}: a sixth of the photos each."""
    photos = np.stack([cifar_photos(each)[name] for name in CIFAR_CLASSES])
    planes = photos.transpose(1, 0, 4, 2, 3).reshape(len(CIFAR_BATCHES), -1, 3072)
    classes = np.tile(np.arange(10), each).reshape(len(CIFAR_BATCHES), -1)
    return {
        batch: (planes[i], classes[i].tolist()) for i, batch in enumerate(CIFAR_BATCHES)
    }


def cifar_whole():
    """All batches, of all the archive's photos, as the zoo's networks know them.

    The photos of each part are sorted by path, then permuted with seed 0.
    """
    photos = {"train": [], "test": []}
    with tarfile.open(CIFAR_ARCHIVE, "r|xz") as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                part, name = member.name.split("/")[-3:-1]
                data = io.BytesIO(archive.extractfile(member).read())
                pixels = np.asarray(Image.open(data).convert("RGB"))
                row = pixels.transpose(2, 0, 1).reshape(-1)
                photos[part].append((member.name, CIFAR_CLASSES.index(name), row))
    ordered = []
    for found in photos.values():
        found.sort(key=lambda one: one[0])
        order = np.random.default_rng(0).permutation(len(found))
        ordered += [found[i] for i in order]
    size = len(ordered) // len(CIFAR_BATCHES)
    batches = {}
    for number, batch in enumerate(CIFAR_BATCHES):
        _, classes, rows = zip(*ordered[number * size :][:size], strict=True)
        batches[batch] = np.stack(rows), list(classes)
    return batches


def cifar_binary(folder, batches):
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for batch, (pixels, classes) in batches.items():
        rows = np.column_stack([np.array(classes, np.uint8), pixels])
        (folder / f"{batch}.bin").write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_CLASSES))
    return folder.parent


def cifar_python(folder, batches):
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for batch, (pixels, classes) in batches.items():
        content = {
            b"batch_label": batch.encode(),
            b"labels": classes,
            b"data": pixels,
            b"filenames": [f"photo_{i:06d}.png".encode() for i in range(len(classes))],
        }
        (folder / batch).write_bytes(pickle.dumps(content, protocol=2))
    return folder.parent


def tar_of(folder, path, mode="w:gz"):
    """The content of a folder as a tar archive."""
    with tarfile.open(path, mode) as archive:
        for inner in sorted(folder.iterdir()):
            archive.add(inner, inner.name)
    return path


def coco_photos(count):
    """Contents of the first photos of MS-COCO in the shared data."""
    paths = sorted((SHARED / "coco-mini").glob("*2014/*.jpg"))[:count]
    return [path.read_bytes() for path in paths]


def noise_photos(count):
    """Contents of small images that differ, where the shared data are not needed."""
    return [encode(photo(seed, 12, 10)) for seed in range(count)]


def flickr(folder, photos, labels, *, together=True):
    """``labels``: {stem: numbers of photos}, other label files are empty."""
    images = folder / "mirflickr"
    images.mkdir(parents=True)
    (images / "doc").mkdir()
    for number, data in enumerate(photos, 1):
        (images / f"im{number}.jpg").write_bytes(data)
    (images / "doc" / "im1.txt").write_text("tags")
    for name in FLICKR_LABELS:
        inner = "annotations" if together else f"v080/{'r1' in name}"
        (folder / inner).mkdir(parents=True, exist_ok=True)
        numbers = "".join(f"{number}\r\n" for number in labels.get(name, ()))
        (folder / inner / f"{name}.txt").write_text(numbers)
    return folder


FLICKR_POTENTIAL = (
    *("animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food"),
    *("indoor", "lake", "male", "night", "people", "plant_life", "portrait", "river"),
    *("sea", "sky", "structures", "sunset", "transport", "tree", "water"),
)
FLICKR_RELEVANT = tuple(
    f"{name}_r1"
    for name in (
        *("baby", "bird", "car", "clouds", "dog", "female", "flower", "male", "night"),
        *("people", "portrait", "river", "sea", "tree"),
    )
)
FLICKR_LABELS = FLICKR_POTENTIAL + FLICKR_RELEVANT

NUS_OTHERS = ("airport", "zebra")
NUS_LABELS = (
    *("sky", "clouds", "person", "water", "animal", "grass", "buildings", "window"),
    *("plants", "lake", "ocean", "road", "flowers", "sunset", "reflection", "rocks"),
    *("vehicle", "snow", "tree", "beach", "mountain"),
)


def nus(folder, photos, labels, *, halves=False, flat=""):
    """``labels``: {concept: rows of images}; ``flat``: "", "name" or "number"."""
    names = [f"c{i % 3}/{i:04d}_{900 + i}.jpg" for i in range(len(photos))]
    for i, data in enumerate(photos):
        inner = {
            "": names[i],
            "name": names[i].split("/")[1],
            "number": f"{900 + i}.jpg",
        }
        path = folder / ("images" if flat else "Flickr") / inner[flat]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    concepts = sorted([*NUS_LABELS, *NUS_OTHERS])
    (folder / "Concepts81.txt").write_text("\n".join(concepts) + "\n")
    middle = len(names) * 3 // 5
    parts = {"_Train": range(middle), "_Test": range(middle, len(names))}
    inner = "TrainTestLabels" if halves else "AllLabels"
    (folder / "Groundtruth" / inner).mkdir(parents=True)
    (folder / "ImageList").mkdir()
    for half, rows in parts.items() if halves else [("", range(len(names)))]:
        listed = "".join(names[i].replace("/", "\\") + " \n" for i in rows)
        file = f"{half[1:]}Imagelist.txt"
        (folder / "ImageList" / file).write_text(listed)
        for concept in concepts:
            bits = [f"{int(i in labels.get(concept, ()))}\n" for i in rows]
            path = folder / "Groundtruth" / inner / f"Labels_{concept}{half}.txt"
            path.write_text("".join(bits))
    return folder
