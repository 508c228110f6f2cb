"""Codes as packed bits, in files for other programs: NumPy's ``.npz`` and FAISS.

Bits are packed as ``numpy.packbits`` does: the first bit is the highest of the first
byte, and the last byte is filled with zeros. Those are equal in all codes, so that they
change no Hamming distance.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgat_jax.errors import ForeignFilesError, InputError, lookup
from cgat_jax.files.io import replace_file, write_bytes
from cgat_jax.files.ownership import check_out_file
from cgat_jax.files.trailers import check_trailed_out, trailer_of
from cgat_jax.search.engines import pack_bits

KIND = "packed codes"


def save_packed(
    path: str | os.PathLike,
    codes: Any,
    *,
    ids: Sequence[Any] | np.ndarray | None = None,
    network_sha256: str = "",
) -> Path:
    """Writes binary codes as packed bits, for another program; whole or not at all.

    >>> import tempfile, numpy as np
    >>> from cgat_jax import save_packed
    >>> codes = np.where(np.arange(36).reshape(3, 12) % 5 < 2, 1, -1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_packed(f"{folder}/codes.npz", codes, ids=["a", "b", "c"])
    ...     with np.load(path) as file:
    ...         file["packed"].shape, int(file["bits"]), file["ids"].tolist()
    ((3, 2), 12, ['a', 'b', 'c'])

    A file ``.npz`` has the arrays ``packed`` (uint8 [n, ceil(bits / 8)]), ``bits``,
    ``ids``, ``network_sha256`` and ``made_by``. A file ``.faiss`` is an
    ``IndexBinaryIDMap2`` of an ``IndexBinaryFlat`` for ``faiss.read_index_binary``,
    which searches exactly; its dimension is the number of bits, made a multiple of 8.

    Args:
        path: ends in ``.npz`` or ``.faiss``. Packed codes that were saved there before
            are replaced.
        codes: [n, bits] in {-1, +1}; an entry of 0 counts as -1.
        ids: n of them, each once: integers, or for ``.npz`` strings as well; 0 to n - 1
            if left out.
        network_sha256: of the network that made the codes, ``net.card`` has it.

    Returns:
        The file.

    Raises:
        InputError: the codes, the ids or the suffix cannot be used, or FAISS is not
            installed.
        ForeignFilesError: something else is there, which stays.
    """
    path = Path(path)
    write = lookup("suffix of packed codes", path.suffix, _FORMATS)
    codes = np.asarray(codes)
    if codes.ndim != 2 or 0 in codes.shape:
        shape = list(codes.shape)
        raise InputError(f"codes: expected [n, bits], not empty, got shape {shape}")
    write(path, codes, _checked_ids(ids, len(codes)), network_sha256)
    return path


def _checked_ids(ids: Sequence[Any] | np.ndarray | None, count: int) -> np.ndarray:
    found = np.arange(count) if ids is None else np.asarray(ids)
    if found.shape != (count,):
        raise InputError(f"ids: expected {count}, one a code, got {list(found.shape)}")
    if found.dtype.kind not in "iuU":
        raise InputError(f"ids: expected integers or strings, got {found.dtype}")
    if len(np.unique(found)) < count:
        raise InputError("ids: some are there twice")
    return found


def _write_npz(path: Path, codes, ids, network_sha256: str) -> None:
    if path.is_file() and not path.is_symlink():
        if not _is_own(path):
            raise ForeignFilesError(
                f"{path}: exists, and is not {KIND} of this package; choose another "
                "name"
            )
    else:
        check_out_file(path)
    arrays = {
        "packed": pack_bits(codes, codes.shape[1]),
        "bits": np.int64(codes.shape[1]),
    }
    arrays |= {"ids": ids, "network_sha256": np.str_(network_sha256)}
    replace_file(path, lambda f: np.savez(f, made_by=np.str_("cgat_jax"), **arrays))


def _is_own(path: Path) -> bool:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return str(file["made_by"]) == "cgat_jax" and "packed" in file
    except Exception:  # whatever a foreign file leads the parser to
        return False


def _write_faiss(path: Path, codes, ids, network_sha256: str) -> None:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "a FAISS file needs the package faiss-cpu: pip install faiss-cpu, or this "
            "package with its extra [search]"
        ) from error
    if ids.dtype.kind == "U":
        raise InputError("ids: a FAISS file has integers alone; .npz takes strings")
    check_trailed_out(path, KIND)
    packed = pack_bits(codes, codes.shape[1])
    flat = faiss.IndexBinaryFlat(8 * packed.shape[1])
    index = faiss.IndexBinaryIDMap2(flat)
    index.add_with_ids(packed, ids.astype(np.int64))
    writer = faiss.VectorIOWriter()
    faiss.write_index_binary(index, writer)
    payload = faiss.vector_to_array(writer.data).tobytes()
    said = {"bits": codes.shape[1], "network_sha256": network_sha256}
    write_bytes(path, payload + trailer_of(payload, KIND, said))


_FORMATS = {".npz": _write_npz, ".faiss": _write_faiss}
