"""The original layouts of the data sets, in small, made of real photos."""

import functools
import io
import pickle
import tarfile

import numpy as np
from PIL import Image

from tests.data.sources import SHARED

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
