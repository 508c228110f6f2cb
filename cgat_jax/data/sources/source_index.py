"""What a source lists, before any image is opened."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cgat_jax.data.dataset import DataError
from cgat_jax.data.images import MAX_BYTES
from cgat_jax.data.sources.archives import read_source
from cgat_jax.data.sources.source_file import SourceFile, read_bytes, some


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceIndex:
    """M images of a source.

    ``image_ids`` are names that do not depend on where the files lie; ``labels`` is
    uint8 [M, C] of {0, 1}; ``parts`` are positions {"train", "query", "database"}, or
    empty where the split is drawn later; ``notes`` are lines on what was left out;
    ``layout`` says how the source was recognized, where it had to be.

    ``locate(position)`` is the file of an image, while the source is at hand; where it
    holds several images, ``extract(position)`` makes the bytes of one, and
    ``pixels(position)`` are the bytes that its content digest covers.
    """

    name: str
    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    labels: np.ndarray
    parts: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    layout: str = ""
    locate: Callable[[int], SourceFile] | None = None
    extract: Callable[[int], bytes] | None = None
    pixels: Callable[[int], bytes] | None = None

    def read(self, position: int) -> bytes:
        """The content of an image file, as the source has it.

        Raises:
            DataError: missing, over 50 MB, or damaged in its archive.
        """
        if self.extract is not None:
            return self.extract(position)
        name = self.image_ids[position]
        return read_bytes(self.locate(position), name, MAX_BYTES)

    def content(self, position: int, data: bytes) -> str:
        """Digest of an image's content, 16 hexadecimal digits.

        Args:
            position: of the image.
            data: what ``read`` gave.
        """
        content = data if self.pixels is None else self.pixels(position)
        return hashlib.sha256(content).hexdigest()[:16]


def require_files(where: str, listing: SourceIndex) -> None:
    """Checks that every listed image is there.

    Raises:
        DataError: counts the missing images and names the first ten.
    """
    names = listing.image_ids
    missing = [name for i, name in enumerate(names) if not listing.locate(i).is_file()]
    if missing:
        raise DataError(
            f"{where}: {len(missing):,} of {len(names):,} listed images are missing: "
            f"{some(missing)}"
        )


def list_source(
    scan: Callable[[Sequence[SourceFile]], SourceIndex],
    source: Path,
    unpacked: Path,
    progress: bool,
) -> SourceIndex:
    """What a source lists, all of whose images are there.

    Args:
        scan: reads it.
        source: a folder, with archives at its top or without, or one archive.
        unpacked: where the contents of tar archives go.
        progress: a bar on stderr, where that is a terminal.

    Raises:
        DataError: a bad list, missing images, or a bad archive.
    """

    def read(places: Sequence[SourceFile]) -> SourceIndex:
        listing = scan(places)
        require_files(str(source), listing)
        return listing

    return read_source(read, source, unpacked, progress)
