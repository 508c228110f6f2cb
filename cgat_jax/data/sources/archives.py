"""A source as a user downloads it: folders, archives, or an archive itself.

Zip archives are read where they are. Tar archives are unpacked once, file by file,
by the standard library's ``data`` filter, which lets nothing out of the folder; links
and special files are refused before that, and so is more than a plausible size.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cgat_jax.data.dataset import DataError
from cgat_jax.data.sources.source_file import NothingHereError, SourceFile, fingerprint
from cgat_jax.files.io import write_text
from cgat_jax.progress import bar as progress_bar

T = TypeVar("T")

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ZIP = (".zip",)
_MAGIC = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_MAX_READ = 10**6
MAX_MEMBERS = 2 * 10**6
MAX_RATIO = 50
FREE_BYTES = 2 * 10**9
"""Archives may unpack to this much, or to ``MAX_RATIO`` times their size."""


def read_source(
    read: Callable[[Sequence[SourceFile]], T],
    source: Path,
    unpacked: Path,
    progress: bool,
) -> T:
    """What ``read`` makes of a source: of the folder alone, or with its archives.

    Archives are opened where the folder alone does not have what is looked for: others
    that lie beside the files cost nothing, and hide nothing that is wrong with them.

    Args:
        read: gets the places to search, in this order.
        source: a folder, with archives at its top or without, or one archive.
        unpacked: where the contents of tar archives go; what is there is used again.
        progress: a bar on stderr, where that is a terminal.

    Raises:
        DataError: no such folder, an archive that is damaged or not harmless, or what
            ``read`` raises.
    """
    if not source.is_dir():
        return read(places_of(source, unpacked, progress))
    if any(_is_archive(path) for path in source.iterdir()):
        with contextlib.suppress(NothingHereError):
            return read([source])
        return read(places_of(source, unpacked, progress))
    return read([source])


def places_of(source: Path, unpacked: Path, progress: bool) -> list[SourceFile]:
    """The folder of a source and then its archives by name; as ``read_source``."""
    if source.is_dir():
        archives = [p for p in sorted(source.iterdir()) if _is_archive(p)]
        return [source, *(_open(path, unpacked, progress) for path in archives)]
    if _is_archive(source):
        return [_open(source, unpacked, progress)]
    kind = "neither a folder nor an archive" if source.exists() else "no such folder"
    raise DataError(f"{source}: {kind}; expected a folder or an archive of images")


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(_TAR + _ZIP)


def _open(path: Path, unpacked: Path, progress: bool) -> SourceFile:
    if not path.name.lower().endswith(_ZIP):
        return _unpack(path, unpacked / path.name, progress)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # whatever malformed bytes lead the parser to
        raise DataError(f"{path}: not a complete zip archive ({error})") from error
    _check_zip(path, archive)
    return zipfile.Path(archive)


def _check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise DataError(f"{path}: over {MAX_MEMBERS:,} files, not read")
    if locked := next((m.filename for m in members if m.flag_bits & 1), None):
        raise DataError(f"{path}: {locked} is encrypted; unpack the archive first")
    _check_size(path, sum(member.file_size for member in members))


def _check_size(path: Path, unpacked: int) -> None:
    if unpacked > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
        raise DataError(
            f"{path}: unpacks to over {unpacked / 1e9:.1f} GB, {MAX_RATIO} times its "
            "size; not read"
        )


def _unpack(path: Path, folder: Path, progress: bool) -> Path:
    """Unpacks a tar archive into ``folder``, unless that was done from the same."""
    note, wanted = folder.with_name(folder.name + ".json"), fingerprint(path)
    if folder.is_dir() and note.is_file() and note.read_bytes() == wanted.encode():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    for leftover in (folder, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _extract(path, partial, progress)
    except DataError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except Exception as error:  # whatever malformed bytes lead the parsers to
        shutil.rmtree(partial, ignore_errors=True)
        reason = (str(error) or repr(error)).splitlines()[0].rstrip(":")
        raise DataError(f"{path}: not unpacked ({reason})") from error
    os.replace(partial, folder)
    write_text(note, wanted)
    return folder


def _extract(path: Path, folder: Path, progress: bool) -> None:
    size, total = path.stat().st_size, 0
    with (
        path.open("rb") as file,
        tarfile.open(fileobj=_Bounded(_decompressed(file)), mode="r:") as archive,
        progress_bar(f"unpacking {path.name}", size, unit="B", shown=progress) as bar,
    ):
        for count, member in enumerate(archive, 1):
            if count > MAX_MEMBERS:
                raise DataError(f"{path}: over {MAX_MEMBERS:,} files, not read")
            if not (member.isdir() or (member.isreg() and not member.issparse())):
                raise DataError(
                    f"{path}: {member.name!r} is a link or a special file; refused"
                )
            total += member.size
            _check_size(path, total)
            _check_room(path, folder, member.size)
            archive.extract(member, folder, filter="data")
            bar.update(file.tell() - bar.done)


def _decompressed(file: io.IOBase) -> io.IOBase:
    start = file.read(6)
    file.seek(0)
    openers = (opener for magic, opener in _MAGIC.items() if start.startswith(magic))
    return next(openers, lambda plain: plain)(file)


class _Bounded:
    """A stream that is read in pieces: a header of gigabytes is not a tar archive's."""

    def __init__(self, stream: io.IOBase):
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_READ:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)


def _check_room(path: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + 10**8:
        raise DataError(
            f"{path}: no room to unpack it below {folder.parent} "
            f"({free / 1e9:.1f} GB free)"
        )
