"""Whose a folder is: nothing that this package did not make is removed or overwritten.

Every folder that it writes to carries a mark, ``.cgat_jax.json``, with the folder's
kind. A folder is taken if it is new, empty or marked with the kind that is asked for.
Within a marked folder the names that this package uses are its own; other files stay.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from cgat_jax import __version__
from cgat_jax.errors import DamagedFileError, ForeignFilesError
from cgat_jax.files.io import read_json, write_json
from cgat_jax.files.locks import LOCK

MARK = ".cgat_jax.json"
KINDS = {
    "run": "a run (workdir)",
    "data": "prepared data",
    "work": "unfinished work, removed when it is done",
    "report": "a report",
    "runs": "runs of a study or a reproduction",
    "index": "a search index",
    "network": "a saved network",
    "queue": "jobs of a cluster's queue",
    "claim": "a claim",
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
        marks: beginnings of lines, in the head of every file that the program writes;
            without them, no file with content is its own, and no link is replaced.

    Raises:
        ForeignFilesError: something else is there.
        OSError: it cannot be read.
    """
    ancestor = next(p for p in [*path.absolute().parents] if os.path.lexists(p))
    if not ancestor.is_dir():
        raise ForeignFilesError(f"{path}: {ancestor} is a file; expected a folder")
    if not os.path.lexists(path):
        return
    if path.is_symlink() and not marks:
        raise ForeignFilesError(f"{path}: is a link; name the file itself, or another")
    if not path.is_file():
        raise ForeignFilesError(f"{path}: is no file; choose another name")
    lines = _head_of(path)[:_LINES]
    own = all(any(x.startswith(m.encode()) for x in lines) for m in marks)
    if lines and not (marks and own):
        raise ForeignFilesError(
            f"{path}: exists and was not made by this program for this; choose another"
        )


def holds_marks(folder: Path, marks: Mapping[str, str]) -> bool:
    """Whether a folder has files of these names, each with a line that begins so.

    Tells of a folder without a mark by what its files say that an earlier version
    made it: anyone may have files of the same names.
    """
    try:
        return all(
            any(line.startswith(mark.encode()) for line in _head_of(folder / name))
            for name, mark in marks.items()
        )
    except OSError:
        return False


def _head_of(path: Path) -> list[bytes]:
    """The first lines of a file."""
    with path.open("rb") as file:
        return file.read(_HEAD).splitlines(keepends=True)


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
