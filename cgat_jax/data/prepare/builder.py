"""Writes listed images, part by part, each decoded, checked and resized.

Each part is marked when it is complete, so that an interrupted preparation goes on
with the first part that has no valid mark.
"""

import collections
import contextlib
import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from cgat_jax.data.prepare.shards import Shard, cut, is_complete, write_marker
from cgat_jax.data.prepare.storage import Built, ImagesOfPart, assemble, quiet_tfds
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.progress import Bar
from cgat_jax.progress import bar as progress_bar

MAX_NAMED = 20


class UnusableError(DataError):
    """Images that are not usable: the first 20 lines of ``lines``, one an image."""

    def __init__(self, lines: list[str]):
        more = len(lines) - MAX_NAMED
        last = [f"and {more:,} more"] if more > 0 else []
        head = f"{len(lines):,} images are not usable:"
        super().__init__("\n".join([head, *lines[:MAX_NAMED], *last]))
        self.lines = lines


class _NotWrittenError(Exception):
    """The part holds images that are not usable; they were noted."""


class Record(NamedTuple):
    """An image to store, a digest of the original's content, width and height."""

    position: int
    data: bytes
    content: str
    size: tuple[int, int]


class Work(NamedTuple):
    """What the parts of a listing have in common.

    ``pool`` decodes up to ``depth`` images ahead; ``errors`` gets a line for each bad
    image.
    """

    listing: SourceIndex
    image_size: int
    folder: Path
    pool: ThreadPoolExecutor
    depth: int
    bar: Bar
    errors: list[str]


def build(
    listing: SourceIndex, folder: Path, image_size: int, threads: int, progress: bool
) -> Built:
    """Writes the images below ``folder``, which is ours.

    Parts that an earlier call has finished are kept, if they are of the same images
    and undamaged; the files do not depend on how often the work was interrupted.

    Raises:
        UnusableError: files that are not usable images, all of them; complete parts
            are kept for the next call.
        DataError: the disk is full.
    """
    try:
        return _build(listing, folder, image_size, threads, progress)
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror or error}"
        where = error.filename or folder
        raise DataError(f"{where}: images are not written ({reason})") from error


def _build(
    listing: SourceIndex, folder: Path, image_size: int, threads: int, progress: bool
) -> Built:
    parts = cut(listing, image_size)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_others(folder, parts)
    errors: list[str] = []
    count = len(listing.image_ids)
    shown = progress_bar("preparing images", count, unit="img", shown=progress)
    with shown as bar, _pool(threads) as pool:
        work = Work(listing, image_size, folder, pool, 4 * threads, bar, errors)
        for part in parts:
            if not is_complete(folder, part):
                _write(work, part)
            bar.update(max(0, part.stop - bar.done))
    if errors:
        raise UnusableError(errors)
    return assemble(listing, parts, folder)


def encode(work: Work, part: Shard) -> Iterator[Record]:
    """Yields the records of a part's good images, in order.

    Raises:
        _NotWrittenError: after the last image, if any was bad.
    """
    listing, errors = work.listing, work.errors

    def record(position: int) -> Record:
        data = listing.read(position)
        name = listing.image_ids[position]
        stored = images.store(data, name, work.image_size)
        content = listing.content(position, data)
        return Record(position, stored, content, images.size_of(stored, name))

    before = len(errors)
    for future in _ahead(work.pool, record, range(part.start, part.stop), work.depth):
        try:
            yield future.result()
        except (DataError, OSError) as error:
            errors.append(" ".join(str(error).split()))
        work.bar.update()
    if len(errors) > before:
        raise _NotWrittenError


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon, however the work ends."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(pool, work, positions: range, depth: int) -> Iterator[Future]:
    """Futures in order, at most ``depth`` of them begun and not taken."""
    rest = iter(positions)
    begun = collections.deque(
        pool.submit(work, position) for position in itertools.islice(rest, depth)
    )
    while begun:
        yield begun.popleft()
        begun.extend(pool.submit(work, i) for i in itertools.islice(rest, 1))


def _write(work: Work, part: Shard) -> None:
    """Writes one part and marks it, unless it has bad images."""
    folder, written = work.folder / part.name, []
    shutil.rmtree(folder, ignore_errors=True)

    def noted() -> Iterator[Record]:
        for record in encode(work, part):
            written.append((record.content, record.size))
            yield record

    builder = ImagesOfPart(
        listing=work.listing, part=part, records=noted(), data_dir=str(folder)
    )
    try:
        with quiet_tfds():
            builder.download_and_prepare()
    except _NotWrittenError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    except RuntimeError as error:  # ArrayRecord's own, where a disk is full
        shutil.rmtree(folder, ignore_errors=True)
        reason = " ".join(str(error).split())
        raise DataError(f"{work.folder}: images are not written ({reason})") from error
    size = builder.info.splits[part.name].num_bytes
    write_marker(work.folder, part, Path(builder.data_dir), size, written)


def _remove_others(folder: Path, parts: list[Shard]) -> None:
    """Removes what belongs to another cut, or was being written at a kill."""
    names = {part.name for part in parts} | {f"{part.name}.json" for part in parts}
    for entry in folder.iterdir():
        if entry.name not in names:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
