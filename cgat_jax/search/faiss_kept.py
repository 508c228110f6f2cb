"""A structure of FAISS that took minutes to make, kept for the next process."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import read_sealed, write_bytes, write_sealed

_FILE, _NOTE = "engine.faiss", "engine.json"
_log = logging.getLogger(__name__)


def keep(folder: Path, content: bytes, note: dict[str, Any]) -> None:
    """Keeps the bytes of a structure; the note's ``of`` says of which codes it is.

    Where they cannot be written, the next process makes it again.
    """
    digest = hashlib.sha256(content).hexdigest()
    try:
        write_bytes(folder / _FILE, content)
        write_sealed(folder / _NOTE, note | {"file": digest})
    except OSError as error:
        _log.warning("what FAISS made is not kept: %s", error)


def kept(
    folder: Path, of: str
) -> tuple[UInt8[np.ndarray, " n"], dict[str, Any]] | None:
    """The bytes and the note that were kept of the same codes, if there are any."""
    try:
        note = read_sealed(folder / _NOTE)
        content = (folder / _FILE).read_bytes() if note.get("of") == of else b""
    except (OSError, DamagedFileError):
        return None
    if not content or note["file"] != hashlib.sha256(content).hexdigest():
        return None
    return np.frombuffer(content, np.uint8), note
