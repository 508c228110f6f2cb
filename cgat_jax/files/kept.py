"""What an evaluation keeps in the workdir: read as it was written, or made again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.arrays import load_array, save_array
from cgat_jax.files.io import SEAL, read_json, set_aside, unsealed, write_sealed

ORIGIN = "origin.json"


def read_kept(path: Path) -> dict[str, Any] | None:
    """A sealed object; None where there is none, or a damaged one, which is set aside.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if "network_sha256" in content and SEAL not in content:
            raise DamagedFileError(f"{path}: its digest is missing")
        return unsealed(content, path)
    except DamagedFileError as error:
        set_aside(path, error)
        return None


def read_kept_array(path: Path, **check: Any) -> np.ndarray | None:
    """The array in a file; None where there is none, or a damaged one, set aside.

    Args:
        path: the file.
        check: how it must be, as ``load_array`` takes it.
    """
    if not path.is_file():
        return None
    try:
        return load_array(path, **check)
    except DamagedFileError as error:
        set_aside(path, error)
        return None


def kept_array(
    path: Path, make: Callable[[], np.ndarray], *, of: str = "", **check: Any
) -> np.ndarray:
    """The array in a file; made, and kept there, where it is missing or damaged.

    Args:
        path: the file.
        make: makes the array.
        of: what it is of; another array in its place is damage.
        check: how it must be, as ``load_array`` takes it.
    """
    array = read_kept_array(path, of=of, **check)
    if array is None:
        array = make()
        save_array(path, array, of=of)
    return array


def belongs(folder: Path, origin: dict[str, str], *, earlier: str = "") -> None:
    """Notes what a folder's files were made of, or finds that it is the same.

    A folder whose note is damaged is set aside whole.

    Args:
        folder: may be missing.
        origin: digests by name.
        earlier: the one digest that earlier versions noted.

    Raises:
        InputError: it was something else; says what, and what to do.
    """
    path = folder / ORIGIN
    found = None
    if path.is_file():
        try:
            content = read_json(path)
            found = content if set(content) == {SEAL} else unsealed(content, path)
        except DamagedFileError as error:
            set_aside(folder, error)
    if found == {SEAL: earlier}:
        found = None
    for name, digest in origin.items() if found is not None else ():
        if found.get(name) != digest:
            raise InputError(
                f"{folder} belongs to another {name}: move it away together with "
                "what was measured with it, or rename the source"
            )
    if found is None:
        write_sealed(path, origin)
