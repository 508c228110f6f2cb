"""Several arrays in one ``.npz`` file, with a digest of all of them in it."""

import hashlib
import io
from pathlib import Path

import numpy as np

from cgat_jax.errors import DamagedFileError
from cgat_jax.files.arrays import digest_of
from cgat_jax.files.io import SEAL, replace_file


def seal_of_arrays(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of the names, types, shapes and values."""
    lines = [f"{name} {digest_of(array)}" for name, array in sorted(arrays.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays and their digest: whole or not at all.

    Raises:
        OSError: it cannot be written; names the path.
    """
    seal = np.frombuffer(bytes.fromhex(seal_of_arrays(arrays)), np.uint8)
    replace_file(path, lambda file: np.savez(file, **arrays, **{SEAL: seal}))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that ``save_arrays`` wrote.

    A file without digest, from before there were any, is taken if it is whole.

    Raises:
        DamagedFileError: names the file and what is wrong.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # whatever damaged bytes lead the parsers to
        reason = " ".join(str(error).split())[:120]
        raise DamagedFileError(f"{path}: damaged, not an .npz file: {reason}") from None
    if (seal := arrays.pop(SEAL, None)) is not None:
        if seal.tobytes().hex() != seal_of_arrays(arrays):
            raise DamagedFileError(f"{path}: damaged, its digest does not match")
    return arrays
