"""A folder held by one process: a lock that dies with it, however it dies."""

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cgat_jax.errors import InUseError

LOCK = ".cgat_jax.lock"


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
