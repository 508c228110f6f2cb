"""Whose a folder is: nothing that this package did not make is removed or overwritten.

Every folder that it writes to carries a mark, ``.cgat_jax.json``, with the folder's
kind. A folder is taken if it is new, empty or marked with the kind that is asked for.
Within a marked folder the names that this package uses are its own; other files stay.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cgat_jax import __version__
from cgat_jax.errors import DamagedFileError, ForeignFilesError, InUseError
from cgat_jax.files.io import read_json, write_json

MARK, LOCK = ".cgat_jax.json", ".cgat_jax.lock"
KINDS = {
    "run": "a run (workdir)",
    "data": "prepared data",
    "work": "unfinished work, removed when it is done",
    "report": "a report",
    "runs": "runs of a study or a reproduction",
    "index": "a search index",
    "network": "a saved network",
}
_MAX_SHOWN, _HEAD, _LINES = 3, 65_536, 5  # names; bytes and lines of a file's head


def check_folder(
    folder: Path, kind: str, *, is_own: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Finds that a folder may be written to, without touching it.

    Args:
        folder: may be missing.
        kind: a key of ``KINDS``.
        is_own: tells of a folder without a mark whether an earlier version made it.

    Raises:
        ForeignFilesError: it holds files that are not of this kind; names some.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ForeignFilesError(f"{folder}: is a file; expected a folder")
    if (found := kind_of(folder)) == kind:
        return
    if found is not None:
        raise ForeignFilesError(
            f"{folder}: holds {KINDS.get(found, repr(found))}, expected "
            f"{KINDS[kind]}; choose another folder"
        )
    others = [name for name in sorted(os.listdir(folder)) if not _is_of_ours(name)]
    if others and not is_own(folder):
        more = ", ..." if len(others) > _MAX_SHOWN else ""
        raise ForeignFilesError(
            f"{folder}: not empty, and not {KINDS[kind]} of this program (it holds "
            f"{', '.join(others[:_MAX_SHOWN])}{more}); choose a new or an empty folder"
        )


def check_out_file(path: Path, *marks: str) -> None:
    """Finds that a file may be written: it is new, empty or the program's own.

    Args:
        path: of the file.
        marks: beginnings of lines, in the head of every file that the program writes.

    Raises:
        ForeignFilesError: something else is there.
        OSError: it cannot be read.
    """
    ancestor = next(p for p in [*path.absolute().parents] if os.path.lexists(p))
    if not ancestor.is_dir():
        raise ForeignFilesError(f"{path}: {ancestor} is a file; expected a folder")
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise ForeignFilesError(f"{path}: is no file; choose another name")
    with path.open("rb") as file:
        lines = file.read(_HEAD).splitlines(keepends=True)[:_LINES]
    if lines and not all(any(x.startswith(m.encode()) for x in lines) for m in marks):
        raise ForeignFilesError(
            f"{path}: exists and was not made by this program for this; choose another"
        )


def _is_of_ours(name: str) -> bool:
    """Whether a name is of a mark, a lock, or a mark whose writing was cut off."""
    cut_off = name.startswith(f".{MARK}.") and name.endswith(".partial")
    return name in (MARK, LOCK) or cut_off


def claim_folder(
    folder: Path, kind: str, *, is_own: Callable[[Path], bool] = lambda folder: False
) -> bool:
    """Makes a folder ours, or finds that it is.

    Returns:
        Whether it is new: made or marked by this call.

    Raises:
        ForeignFilesError: as ``check_folder``.
    """
    check_folder(folder, kind, is_own=is_own)
    if kind_of(folder) == kind:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    note = "Made by cgat_jax, which writes, replaces and removes files of its own here."
    content = {"made_by": "cgat_jax", "kind": kind, "version": __version__}
    write_json(folder / MARK, content | {"note": note})
    return True


def kind_of(folder: Path) -> str | None:
    """The kind that a folder is marked with; None without a mark that can be read."""
    try:
        content = read_json(folder / MARK)
    except (OSError, DamagedFileError):
        return None
    return str(content.get("kind")) if content.get("made_by") == "cgat_jax" else None


def release_folder(folder: Path, *, keep: bool = False) -> None:
    """Removes our mark, our lock and the folder itself, if it holds nothing else.

    Args:
        folder: ours.
        keep: the folder was there before and stays.
    """
    if set(os.listdir(folder)) <= {MARK, LOCK}:
        for name in (MARK, LOCK):
            (folder / name).unlink(missing_ok=True)
        if not keep:
            with contextlib.suppress(OSError):
                folder.rmdir()


def remove_work(folder: Path) -> None:
    """Removes a folder of unfinished work with all that is in it.

    Raises:
        ForeignFilesError: it does not carry that mark.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or kind_of(folder) != "work":
        raise ForeignFilesError(
            f"{folder}: not made by this program, so not removed; move it away"
        )
    for entry in os.scandir(folder):
        if entry.name != MARK:  # last, so that an interrupted removal can go on
            remove = shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink
            remove(entry.path)
    (folder / MARK).unlink()
    folder.rmdir()


def check_apart(root: Path, source: Path, what: str = "the prepared data") -> None:
    """Finds that a folder to write to neither is, holds nor lies in a source.

    Raises:
        ForeignFilesError: it does; says how.
    """
    inner, outer = root.resolve(), source.resolve()
    if inner == outer:
        how = "is the source itself"
    elif outer in inner.parents:
        how = f"lies in the source {source}"
    elif inner in outer.parents:
        how = f"holds the source {source}"
    else:
        return
    raise ForeignFilesError(
        f"{root}: {how}; choose a folder beside it for {what}, so that the originals "
        "stay as they are"
    )


@contextlib.contextmanager
def locked(
    folder: Path, *, patience: float = 0.0, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Holds a folder for this process; the lock dies with it, however it dies.

    Args:
        folder: exists.
        patience: seconds to wait for another process.
        waiting: told once who holds the folder, if it has to be waited for.

    Raises:
        InUseError: another process holds it; says which.
    """
    with contextlib.ExitStack() as stack:
        file = _take(folder, time.monotonic() + patience, waiting, stack)
        with contextlib.suppress(OSError):  # the lock holds without a name on it
            file.seek(0)
            file.truncate()
            json.dump(_self(), file)
            file.flush()
        yield


def _take(folder: Path, deadline: float, waiting, stack: contextlib.ExitStack):
    """The lock file, locked; closing it lets go."""
    tries = 0
    while True:
        file = stack.enter_context((folder / LOCK).open("a+", encoding="utf-8"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who, tries = _holder(folder, file), tries + 1
            if time.monotonic() >= deadline:
                raise InUseError(f"{who}; wait, or choose another folder") from None
            if waiting and tries == 2:  # by now the holder has written its name
                waiting(f"{who}; waiting for it")
            time.sleep(0.1)
        except OSError as error:
            why = f"its file system has no locks ({error.strerror}); choose a local one"
            raise OSError(error.errno, why, str(folder)) from error
        else:
            with contextlib.suppress(FileNotFoundError):  # removed since it was opened
                if os.path.samestat(os.fstat(file.fileno()), os.stat(folder / LOCK)):
                    return file
        file.close()


def _self() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join([os.path.basename(sys.executable), *sys.argv])[:500],
    }


def _holder(folder: Path, file) -> str:
    file.seek(0)
    try:
        held = json.loads(file.read())
        who = "process {pid} on {host} since {since} ({command})".format(**held)
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return f"{folder}: in use by {who}"
