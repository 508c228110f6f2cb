"""The field's released split files, kept beside a prepared data set.

``{train,test}_img.txt`` and ``_label.txt``, and the same of ``database`` where it was
released; without it the database are all images that are not queries. File names are
matched by their last part, because the releases differ in folders.
"""

import hashlib
import re
from pathlib import Path, PurePosixPath

import numpy as np

from cgat_jax.data.dataset import DataError, Split, make_split
from cgat_jax.data.datasets.lists import Rows, read_rows
from cgat_jax.data.prepare.arrays import load_arrays, save_arrays
from cgat_jax.data.prepare.manifest import is_own
from cgat_jax.data.sources.source_file import some
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.errors import DamagedFileError
from cgat_jax.files.ownership import claim_folder

_FILE = "released.npz"
_MOST_DIFFERENT = 0.1


def base_name(name: str) -> str:
    """``folder/im1.jpg`` and ``im1.JPG`` are ``im1.jpg``."""
    return PurePosixPath(name.replace("\\", "/")).name.lower()


def photo_number(name: str) -> str:
    """The photo's number in ``folder/0001_2124494179.jpg``, for NUS-WIDE."""
    found = re.search(r"(\d+)\D*$", base_name(name))
    return found[1] if found else base_name(name)


KEYS = {"flickr25k": base_name, "coco": base_name, "nus_wide": photo_number}


def add_released(root: Path, stored: SourceIndex, folder: Path) -> bool:
    """Reads released split files into the prepared folder ``root``.

    Returns:
        Whether there was anything to do; the same files again change nothing, and
        they may be gone when they were added.

    Raises:
        DataError: bad files, names that are not in the data set, labels of another
            kind or order, or another released split in ``root``.
    """
    rows = _rows(stored.name, root, folder)
    if rows is None:
        return False
    digest = _digest(rows)
    if has_released(root):
        if _load(root)["digest"].tobytes() == digest:
            return False
        raise DataError(f"{root}: holds another released split; delete {root / _FILE}")
    parts = _positions(rows, stored, folder)
    notes = _compare(rows, parts, stored, folder)
    if "database" not in parts:
        everyone = np.arange(len(stored.image_ids))
        parts["database"] = np.setdiff1d(everyone, parts["query"])
        notes.append("no database list: the database are all images but the queries")
    content = parts | {
        "notes": np.array(notes, str),
        "digest": np.frombuffer(digest, np.uint8),
    }
    claim_folder(root, "data", is_own=is_own)
    save_arrays(root / _FILE, content)
    return True


def check_released(name: str, root: Path, folder: str) -> None:
    """Finds that a released split can be added to ``root``, or was, before the images.

    Args:
        name: of the data set.
        root: of the prepared data, which may not be there yet.
        folder: of the lists; empty: they were added before.

    Raises:
        DataError: there is none, bad files, or a data set without a known one.
    """
    if folder:
        _rows(name, root, Path(folder))
    elif not has_released(root):
        raise DataError(_none(root))


def _rows(name: str, root: Path, folder: Path) -> Rows | None:
    """The lines of the lists; None: they were added before and are gone.

    Raises:
        DataError: bad files, or a data set without a known released split.
    """
    if name not in KEYS:
        raise DataError(f"{name}: no released split is known; known: {sorted(KEYS)}")
    if has_released(root) and not folder.exists():
        return None
    return read_rows(folder, optional=("database",))


def _none(root: Path) -> str:
    return (
        f"{root}: no released split there; give the folder of its files with "
        "data.splits, or with experiments.prepare --splits"
    )


def open_released(root: Path, stored: SourceIndex) -> tuple[Split, list[str]]:
    """The released split that was added to ``root``, and what is odd about it.

    Raises:
        DataError: there is none, or it is damaged.
    """
    if not has_released(root):
        raise DataError(_none(root))
    content = _load(root)
    parts = {part: content[part] for part in ("train", "query", "database")}
    if not all(_is_list(rows, len(stored.image_ids)) for rows in parts.values()):
        raise DataError(f"{root / _FILE}: damaged; delete it and add the split again")
    split = make_split(f"{stored.name}-released", stored.image_ids, **parts)
    return split, content["notes"].tolist()


def odd_labels(root: Path) -> list[str]:
    """Lines on what is odd about the released split in ``root``, if there is one."""
    return _load(root)["notes"].tolist() if has_released(root) else []


def has_released(root: Path) -> bool:
    """Whether a released split was added to ``root``."""
    return (root / _FILE).exists()


def _load(root: Path) -> dict[str, np.ndarray]:
    try:
        content = load_arrays(root / _FILE)
    except (OSError, DamagedFileError) as error:
        raise DataError(f"{root / _FILE}: damaged ({error}); delete it") from error
    if missing := {"train", "query", "database", "notes", "digest"} - set(content):
        raise DataError(f"{root / _FILE}: damaged (no {min(missing)}); delete it")
    return content


def _is_list(rows: np.ndarray, count: int) -> bool:
    kind = rows.ndim == 1 and rows.dtype == np.int64 and len(rows)
    return bool(kind and rows.min() >= 0 and rows.max() < count)


def _positions(rows: Rows, stored: SourceIndex, folder: Path) -> dict[str, np.ndarray]:
    """{part: positions in the data set} of the listed names."""
    key = KEYS[stored.name]
    where = {key(name): i for i, name in enumerate(stored.image_ids)}
    unknown = [n for names in rows.names.values() for n in names if key(n) not in where]
    if unknown:
        unknown = list(dict.fromkeys(unknown))
        raise DataError(
            f"{folder}: {len(unknown):,} listed images are not in the prepared "
            f"{stored.name}: {some(unknown)}"
        )
    return {
        part: np.array([where[key(name)] for name in names], np.int64)
        for part, names in rows.names.items()
    }


def _compare(
    rows: Rows, parts: dict[str, np.ndarray], stored: SourceIndex, folder: Path
) -> list[str]:
    """Lines on label rows that are not those of the annotations.

    Raises:
        DataError: other columns, or over a tenth of the rows differ.
    """
    width = stored.labels.shape[1]
    if rows.width != width:
        raise DataError(f"{folder}: {rows.width} label columns, expected {width}")
    notes = []
    for part, positions in parts.items():
        wrong = (rows.labels[part] != stored.labels[positions]).any(axis=1)
        if wrong.mean() > _MOST_DIFFERENT:
            raise DataError(
                f"{folder}: {wrong.sum():,} of {len(wrong):,} {part} rows differ from "
                f"the annotations of {stored.name}; are the label columns in the order "
                f"{', '.join(stored.class_names[:3])}, ...?"
            )
        if wrong.any():
            notes.append(
                f"{part} list: {wrong.sum():,} label rows differ from the annotations, "
                "which are used"
            )
    return notes


def _digest(rows: Rows) -> bytes:
    digest = hashlib.sha256()
    for part, names in rows.names.items():
        digest.update("\n".join([part, *names, ""]).encode())
        digest.update(rows.labels[part].tobytes())
    return digest.digest()
