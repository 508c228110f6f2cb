"""Binary files in formats of others, with a sealed JSON object of ours at their end.

Readers of such a format ignore what follows (StableHLO of ``jax.export``, FAISS) or
take it for a part of it (the metadata of an ONNX model), so that the file is of use
without this package, and tells it what the file is of.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from cgat_jax.errors import DamagedFileError, ForeignFilesError
from cgat_jax.files.io import SEAL, parse_json, seal_of, unsealed
from cgat_jax.files.ownership import check_out_file

_KIND = "cgat_jax_file"  # the first key, and of no object within
_MARK = f'{{"{_KIND}": '.encode()
_LENGTH, _DIGEST = "payload_bytes", "payload_sha256"
_MAX_TRAILER = 2**22


def trailer_of(payload: bytes, kind: str, content: dict[str, Any]) -> bytes:
    """The sealed JSON object that goes behind a payload; it ends the file.

    Args:
        payload: what other programs read of the file.
        kind: of the file.
        content: what is to be said of it, as JSON.
    """
    digest = hashlib.sha256(payload).hexdigest()
    said = {_KIND: kind, **content, _LENGTH: len(payload), _DIGEST: digest}
    return json.dumps(said | {SEAL: seal_of(said)}, allow_nan=False).encode()


def read_trailer(path: Path, kind: str) -> dict[str, Any]:
    """What a file says of itself at its end; its payload is neither read nor checked.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: there is nothing of this kind at its end, or not as it was
            written.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _MAX_TRAILER))
        tail = file.read()
    start = tail.rfind(_MARK)
    if start < 0:
        raise DamagedFileError(
            f"{path}: not written by this package, or cut off: its end says nothing"
        )
    try:
        text = tail[start:].decode("ascii")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path}: damaged, its end is no text") from error
    sealed = parse_json(text, path)
    content = unsealed(sealed, path)
    if SEAL not in sealed or not isinstance(content.get(_LENGTH), int):
        raise DamagedFileError(f"{path}: damaged, its end has no digest")
    if content[_KIND] != kind:
        raise DamagedFileError(f"{path}: expected {kind}, found {content[_KIND]!r}")
    return {key: value for key, value in content.items() if key != _KIND}


def read_payload(path: Path, kind: str) -> tuple[bytes, dict[str, Any]]:
    """What other programs read of a file, checked, and what it says of itself.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is not as it was written.
    """
    content = read_trailer(path, kind)
    length, digest = content.pop(_LENGTH), content.pop(_DIGEST, "")
    payload = path.read_bytes()[:length]
    if hashlib.sha256(payload).hexdigest() != digest:
        raise DamagedFileError(f"{path}: damaged, its digest does not match")
    return payload, content


def check_trailed_out(path: Path, kind: str) -> None:
    """Finds that such a file may be written: it is new, or one of the same kind.

    Raises:
        ForeignFilesError: something else is there, which stays.
    """
    if not path.is_file() or path.is_symlink():
        check_out_file(path)
        return
    try:
        read_trailer(path, kind)
    except DamagedFileError as error:
        raise ForeignFilesError(
            f"{path}: exists, and is not {kind} of this package; choose another name"
        ) from error
