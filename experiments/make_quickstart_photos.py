"""Makes the packed photos of the quickstart data from the files of Fashion-MNIST.

    apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist*.deb x
    python -m experiments.make_quickstart_photos \
        --source=x/usr/share/datasets/fashion-mnist --out=fashion_photos.npz

Chooses, from a fixed seed, 1,000 photos a class for the database and 200 a class for
queries, no photo twice, and writes one file: arrays ``database`` and ``query``, uint8
[10, n, 28, 28]. The same input gives the same bytes.
"""

import gzip
import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
from absl import app, flags

from cgat_jax.files.io import write_bytes

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
        ValueError: the file is not one.
    """
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an idx file of unsigned bytes")
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def choose(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A balanced choice of distinct photos for each split."""
    order = np.random.default_rng(0).permutation(len(images))
    seen, taken = set(), {label: [] for label in range(10)}
    for index in order:
        digest = images[index].tobytes()
        rows = taken[int(labels[index])]
        if digest not in seen and len(rows) < sum(COUNTS.values()):
            seen.add(digest)
            rows.append(index)
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
        with zipfile.ZipFile(path) as archive:
            return archive.namelist() == [f"{name}.npy" for name in COUNTS]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def main(arguments: list[str]) -> None:
    """Reads, chooses, writes, and prints the digest of the result."""
    del arguments
    values = flags.FLAGS
    if not values.source:
        sys.exit("--source is missing: expected the folder of the idx.gz files")
    source, out = Path(values.source), Path(values.out)
    missing = [
        name for name in sum(FILES.values(), []) if not (source / name).is_file()
    ]
    if missing:
        sys.exit(f"--source={source}: expected the idx.gz files, missing {missing}")
    if os.path.lexists(out) and not is_own(out):
        sys.exit(
            f"--out={out}: exists and was not made by this program; choose another"
        )
    tables = {
        kind: np.concatenate([read_idx(source / name) for name in names])
        for kind, names in FILES.items()
    }
    write_npz(out, choose(tables["images"], tables["labels"]))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    print(f"{out}: {out.stat().st_size:,} bytes, sha256 {digest}")


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    app.run(main)
