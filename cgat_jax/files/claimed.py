"""A folder that is claimed, held, and gone again if nothing came of it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cgat_jax.files.locks import locked
from cgat_jax.files.ownership import release_folder


@contextlib.contextmanager
def claimed_folder(
    folder: Path,
    claim: Callable[[Path], object],
    *,
    patience: float = 0.0,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Makes a folder ours and holds it for this process.

    Args:
        folder: may be missing; what is left with nothing in it is removed, unless it
            was there before.
        claim: makes it ours, or finds that it is, as ``claim_folder`` does.
        patience: seconds to wait for another process that holds it.
        waiting: told once who holds it, if it has to be waited for.

    Raises:
        ForeignFilesError: it holds something else.
        InUseError: another process holds it; says which.
    """
    existed = folder.is_dir()
    with contextlib.ExitStack() as stack:
        while True:
            claim(folder)
            with contextlib.suppress(FileNotFoundError):  # another process gave it up
                stack.enter_context(locked(folder, patience=patience, waiting=waiting))
                break
        claim(folder)
        stack.callback(release_folder, folder, keep=existed)
        yield
