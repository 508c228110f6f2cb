"""Parts of a preparation: what is in each, and which are finished and undamaged."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import PIL

from cgat_jax.data.images import STORAGE
from cgat_jax.data.sources.source_file import fingerprint
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.files.io import file_digest, read_sealed, write_sealed

_MOST_IMAGES = 1024
_MOST_BYTES = 500 * 10**6
_FORMAT = 2


class Shard(NamedTuple):
    """Images ``start`` to ``stop`` of a listing.

    ``inputs`` is a digest of all that decides the part's files.
    """

    name: str
    start: int
    stop: int
    inputs: str


def images_per_part(image_size: int) -> int:
    """How many images of that short side stay well below 1 GB, even as PNG."""
    bytes_each = 5 * image_size**2
    return max(1, min(_MOST_IMAGES, _MOST_BYTES // bytes_each))


def cut(listing: SourceIndex, image_size: int) -> list[Shard]:
    """The parts of a listing, in order."""
    total, step = len(listing.image_ids), images_per_part(image_size)
    starts = range(0, total, step)
    ranges = [(start, min(start + step, total)) for start in starts]
    return [
        Shard(f"part_{i:05d}", *both, _inputs(listing, *both, image_size))
        for i, both in enumerate(ranges)
    ]


def is_complete(folder: Path, part: Shard) -> bool:
    """Whether the part was finished from the same inputs and its files are intact."""
    try:
        found = read_marker(folder, part)
        count = part.stop - part.start
        if not len(found["contents"]) == len(found["sizes"]) == count:
            return False
        return found["inputs"] == part.inputs and all(
            file_digest(folder / name) == digest
            for name, digest in found["files"].items()
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def write_marker(
    folder: Path,
    part: Shard,
    data: Path,
    num_bytes: int,
    images: list[tuple[str, tuple[int, int]]],
) -> None:
    """Notes that the part's files, in ``data`` below ``folder``, are complete.

    ``images`` are hexadecimal digests of the original images, in order, with the width
    and the height of the stored ones.
    """
    files = sorted(data.glob("*.array_record*"))
    content = {
        "inputs": part.inputs,
        "num_bytes": num_bytes,
        "contents": [content for content, _ in images],
        "sizes": [size for _, size in images],
        "files": {str(path.relative_to(folder)): file_digest(path) for path in files},
    }
    write_sealed(folder / f"{part.name}.json", content)


def read_marker(folder: Path, part: Shard) -> dict[str, Any]:
    """What ``write_marker`` wrote; an OSError or ValueError if it did not."""
    return read_sealed(folder / f"{part.name}.json")


def _inputs(listing: SourceIndex, start: int, stop: int, image_size: int) -> str:
    rows = range(start, stop)
    names = [listing.image_ids[i] for i in rows]
    files = [fingerprint(listing.locate(i)) for i in rows]
    how = [_FORMAT, STORAGE, PIL.__version__, listing.name, start, image_size]
    digest = hashlib.sha256(json.dumps([*how, names, files]).encode())
    digest.update(listing.labels[start:stop].tobytes())
    return digest.hexdigest()
