r"""Makes the packed photos of the quickstart data from the files of Fashion-MNIST.

    apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist*.deb x
    python -m experiments.make_quickstart_photos \
        --source=x/usr/share/datasets/fashion-mnist --out=fashion_photos.npz

Chooses, from a fixed seed, 1,000 photos a class for the database and 200 a class for
queries, no photo twice, and writes one file: arrays ``database`` and ``query``, uint8
[10, n, 28, 28]. The same input gives the same bytes.

Exit codes: 0 done, 2 refused (a line on what and where). Others: docs/runs.md.
"""

import gzip
import hashlib
import io
import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from absl import flags

from cgat_jax.errors import InputError
from cgat_jax.files.io import write_bytes
from experiments import cli

COUNTS = {"database": 1_000, "query": 200}
FILES = {
    "images": ["train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"],
    "labels": ["train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"],
}


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    for name, default, text in (
        ("source", None, "folder of the idx.gz files"),
        ("out", "fashion_photos.npz", "file to write"),
    ):
        flags.DEFINE_string(name, default, text, flag_values=values)


def read_idx(path: Path) -> np.ndarray:
    """The array of an idx.gz file of unsigned bytes.

    Raises:
        InputError: the file is not one.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path}: damaged or no gz file ({error})") from error
    dimensions = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(data[i : i + 4]) for i in range(4, start, 4)]
    if not dimensions or len(data) != start + math.prod(shape):
        raise InputError(f"{path}: not an idx file of unsigned bytes")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_source(source: Path) -> tuple[np.ndarray, np.ndarray]:
    """The photos, uint8 [n, 28, 28], and labels [n] of a folder with the idx.gz files.

    Raises:
        InputError: a file is missing or damaged, or they do not belong together.
    """
    missing = [name for name in sum(FILES.values(), []) if not (source / name).exists()]
    if missing:
        raise InputError(
            f"--source={source}: expected the idx.gz files, missing {missing}"
        )
    found = {kind: [read_idx(source / n) for n in own] for kind, own in FILES.items()}
    pairs = list(zip(found["images"], found["labels"], strict=True))
    for name, (images, labels) in zip(FILES["images"], pairs, strict=True):
        if images.shape != (*labels.shape, 28, 28) or labels.ndim != 1:
            shapes = f"images {images.shape}, labels {labels.shape}"
            raise InputError(
                f"{source / name}: not 28 x 28 with a label each: {shapes}"
            )
    return tuple(np.concatenate(arrays) for arrays in found.values())


def choose(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A balanced choice of distinct photos for each split.

    Raises:
        InputError: a class has too few.
    """
    order = np.random.default_rng(0).permutation(len(images))
    seen, taken = set(), {label: [] for label in range(10)}
    needed = sum(COUNTS.values())
    for index in order:
        digest = images[index].tobytes()
        rows = taken.get(int(labels[index]))
        if rows is None:
            raise InputError(f"--source: label {labels[index]}, expected 0 to 9")
        if digest not in seen and len(rows) < needed:
            seen.add(digest)
            rows.append(index)
    if few := [label for label, rows in taken.items() if len(rows) < needed]:
        raise InputError(f"--source: fewer than {needed:,} photos of the classes {few}")
    first, chosen = 0, {}
    for split, count in COUNTS.items():
        rows = [taken[label][first : first + count] for label in range(10)]
        chosen[split] = images[np.array(rows)]
        first += count
    return chosen


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Like ``np.savez_compressed``, without the time of writing in the file."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue(), compresslevel=9)
    write_bytes(path, whole.getvalue())


def is_own(path: Path) -> bool:
    """Whether a file is one that ``write_npz`` wrote."""
    try:
        with np.load(path) as arrays:
            return list(arrays) == list(COUNTS) and all(
                arrays[name].dtype == np.uint8
                and arrays[name].shape == (10, count, 28, 28)
                for name, count in COUNTS.items()
            )
    except Exception:  # whatever NumPy says of a file of someone else
        return False


def main(values: flags.FlagValues) -> int:
    """Reads, chooses, writes, and prints the digest of the result."""
    if not values.source:
        raise InputError("--source is missing: expected the folder of the idx.gz files")
    out = Path(values.out)
    if os.path.lexists(out) and not is_own(out):
        raise InputError(
            f"--out={out}: exists and was not made by this program; choose another"
        )
    write_npz(out, choose(*read_source(Path(values.source))))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    print(f"{out}: {out.stat().st_size:,} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("make_quickstart_photos", lambda: main(flags.FLAGS))
