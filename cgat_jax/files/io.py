"""Files: written whole or not at all, and read back only as they were written.

What feeds a number is *sealed*: it carries a digest of itself, which is checked when it
is read. A sealed JSON object has a key ``sha256``; arrays see ``files.arrays``.
"""

import contextlib
import glob
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from cgat_jax.errors import DamagedFileError

SEAL = "sha256"
_log = logging.getLogger(__name__)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Has ``write(file)`` fill a file that then appears under ``path``, whole.

    Raises:
        OSError: it cannot be written; names the path. What was there stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_partials(folder: Path, names: Iterable[str]) -> None:
    """Removes what processes left that were killed while they wrote these files.

    Only for a folder that is ours and that no other process writes to.
    """
    for name in names:
        for partial in folder.glob(f".{glob.escape(name)}.*.partial"):
            if partial.name.split(".")[-2].isdecimal():
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Has what the system cannot do with a file name the file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file: whole or not at all."""
    replace_file(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file: whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Writes JSON; a value that is not finite is an error, not a file."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """The content of a UTF-8 file that this package wrote.

    Raises:
        DamagedFileError: it is no UTF-8 text.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path}: damaged, not UTF-8 text: {error}") from error


def parse_json(text: str, name: object) -> dict[str, Any]:
    """A JSON object; ``name`` is what errors call it.

    Raises:
        DamagedFileError: it is something else, or no JSON at all.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DamagedFileError(f"{name}: damaged, not valid JSON: {error}") from error
    except RecursionError as error:
        raise DamagedFileError(f"{name}: damaged, nested too deep") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DamagedFileError(f"{name}: damaged, expected a JSON object, got {kind}")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DamagedFileError: the file holds something else.
        OSError: it cannot be read.
    """
    return parse_json(read_text(path), path)


def seal_of(content: dict[str, Any]) -> str:
    """Digest of a JSON object, without its own key ``sha256``."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object with its digest."""
    write_json(path, content | {SEAL: seal_of(content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """A JSON object that ``write_sealed`` wrote, without its digest.

    One without a digest, from before there were any, is taken as it is.

    Raises:
        DamagedFileError: it is not as it was written.
        OSError: it cannot be read.
    """
    return unsealed(read_json(path), path)


def unsealed(content: dict[str, Any], name: object) -> dict[str, Any]:
    """A sealed JSON object without its digest, which is checked.

    Raises:
        DamagedFileError: the digest is another one; names it by ``name``.
    """
    try:
        sound = SEAL not in content or content[SEAL] == seal_of(content)
    except (ValueError, RecursionError):  # NaN or depth, which was never written
        sound = False
    if not sound:
        raise DamagedFileError(f"{name}: damaged or edited, its digest does not match")
    return {key: value for key, value in content.items() if key != SEAL}


def set_aside(path: Path, why: object = "") -> Path:
    """Renames a damaged file or folder, so that it can be made again; logs it.

    Returns:
        The new path, ``NAME.damaged-1`` or the next free number.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.rename(path, aside)
    reason = f" ({' '.join(str(why).split())})" if why else ""
    _log.warning("%s is not usable and was set aside as %s%s", path, aside.name, reason)
    return aside
