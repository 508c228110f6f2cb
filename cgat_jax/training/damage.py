"""Whether a checkpoint is damaged: its files by their digests, and all by one answer.

The first process finds the files as they were written. What another one alone meets
then, such as no memory or a folder that is not there, is no damage of them.
"""

import errno
from pathlib import Path

from cgat_jax import processes
from cgat_jax.errors import DamagedFileError, ToldElsewhere, is_out_of_memory
from cgat_jax.files.io import file_digest, read_sealed, write_sealed

_FILES = "files.json"  # in a checkpoint
# Of the system's errors, those of files that are absent or of another kind.
_DAMAGE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_NOTHING, _ELSEWHERE, _DAMAGED, _UNREADABLE = range(4)


def are_damaged(error: Exception | None) -> bool:
    """Whether files are damaged, by what each process met when it restored them.

    To be called by all processes, which hear the same. Damage is what the first one
    says it is, or bytes without their digest, unless one cannot read files now.
    """
    return processes.greatest(_weight(error)) == _DAMAGED


def _weight(error: Exception | None) -> int:
    if error is None or isinstance(error, ToldElsewhere):
        return _NOTHING
    if is_out_of_memory(error):
        return _UNREADABLE
    if isinstance(error, OSError) and error.errno not in _DAMAGE:
        return _UNREADABLE
    own = processes.is_first() or isinstance(error, DamagedFileError)
    return _DAMAGED if own else _ELSEWHERE


def note_files(folder: Path) -> None:
    """Keeps the digests of a checkpoint's files beside them."""
    write_sealed(folder / _FILES, {"files": _digests(folder)})


def check_files(folder: Path) -> None:
    """Finds all files as they were written, unless a kill came before their digests.

    Raises:
        DamagedFileError: names one that is not.
    """
    if not (folder / _FILES).exists():
        return
    found = _digests(folder)
    for name, digest in read_sealed(folder / _FILES)["files"].items():
        if found.get(name) != digest:
            raise DamagedFileError(f"{name} is not as it was written")


def check_seen(folder: Path) -> None:
    """Finds a checkpoint where this process looks for it.

    Raises:
        FileNotFoundError: it is not there, as where a folder is not that of all hosts.
    """
    if not folder.is_dir():
        why = "this process does not see it; give a folder that all hosts see"
        raise FileNotFoundError(errno.ENOENT, why, str(folder))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by its path under the folder."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found[path.relative_to(folder).as_posix()] = file_digest(path)
    found.pop(_FILES, None)
    return found
