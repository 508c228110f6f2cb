"""Files of a source, in a folder or in a zip archive, read the same way.

Members of a zip archive are read and never written, so that no name in it can lead
anywhere; a link in it is a short text, and no image.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cgat_jax.data.dataset import DataError
from cgat_jax.data.images import OversizedError

SourceFile = Path | zipfile.Path

MAX_TEXT = 10**9
MAX_NAMED = 10
_DEPTH = 4


class NothingHereError(DataError):
    """None of the places has what was looked for; others may."""


def size_of(place: SourceFile) -> int:
    """Bytes of a file; of an archive's member as the archive declares it."""
    if isinstance(place, Path):
        return place.stat().st_size
    return place.root.getinfo(place.at).file_size


def fingerprint(place: SourceFile) -> str:
    """What changes when the file does: its size, and its time or checksum."""
    if isinstance(place, Path):
        found = place.stat()
        return f"{found.st_size} {found.st_mtime_ns}"
    member = place.root.getinfo(place.at)
    return f"{member.file_size} {member.CRC:08x}"


def read_bytes(place: SourceFile, name: str, limit: int) -> bytes:
    """Content of a file of at most ``limit`` bytes; a larger one is not read.

    Args:
        place: the file.
        name: what error messages call it.
        limit: most bytes to read.

    Raises:
        OversizedError: too large.
        DataError: missing, or damaged in its archive.
    """
    try:
        if size_of(place) > limit:
            raise OversizedError(f"{name}: over {limit / 1e6:,.0f} MB, not read")
        return place.read_bytes()
    except DataError:
        raise
    except (OSError, KeyError) as error:
        raise DataError(f"{name}: not readable ({error})") from error
    except Exception as error:
        # zipfile and the decompressors raise whatever malformed bytes lead them to.
        raise DataError(f"{name}: damaged in its archive ({error})") from error


def read_text(place: SourceFile) -> str:
    """Content of a UTF-8 file.

    Raises:
        DataError: if it is missing, damaged or not text.
    """
    if not place.is_file():
        raise DataError(f"{place}: no such file")
    data = read_bytes(place, str(place), MAX_TEXT)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 text ({error})") from error


def search(places: Sequence[SourceFile], name: str) -> SourceFile | None:
    """The file or folder ``name`` nearest to the top, looking at most 4 folders deep.

    Earlier places come first at equal depth; folders of a place in name order.
    """
    level = list(places)
    for _ in range(_DEPTH):
        if found := next((p / name for p in level if (p / name).exists()), None):
            return found
        level = [inner for place in level for inner in _folders(place)]
    return None


def find(places: Sequence[SourceFile], name: str) -> SourceFile:
    """As ``search``.

    Raises:
        NothingHereError: if there is none.
    """
    if (found := search(places, name)) is None:
        where = ", ".join(str(place).rstrip("/") for place in places)
        raise NothingHereError(f"{where}: no {name} there, nor in the folders below")
    return found


def below(place: SourceFile, name: str) -> SourceFile:
    """The file of a relative name; the caller has checked that it stays below."""
    for part in PurePosixPath(name).parts:
        place = place / part
    return place


def some(names: Sequence[str]) -> str:
    """The first ten names, comma separated, and an ellipsis if there are more."""
    more = ", ..." if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with what is counted: ``1 image``, ``2,000 images``."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _folders(place: SourceFile) -> list[SourceFile]:
    if not place.is_dir():
        return []
    if isinstance(place, Path):
        with os.scandir(place) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    return sorted((p for p in place.iterdir() if p.is_dir()), key=lambda p: p.name)
