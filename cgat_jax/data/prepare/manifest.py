"""What a prepared folder says of itself: ``prepared.json`` and the arrays beside it.

Format 2 has digests of all that is in the folder; the images that had to be resized
are JPEGs with full chroma. Format 1, of earlier versions, is read as well; its JPEGs
have half the chroma, and their sizes are read from the images themselves.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cgat_jax.data.dataset import DataError
from cgat_jax.data.images import STORAGE
from cgat_jax.data.prepare.arrays import load_arrays, save_arrays, seal_of_arrays
from cgat_jax.data.prepare.storage import Built
from cgat_jax.data.sources.source_index import SourceIndex
from cgat_jax.errors import DamagedFileError, InputError
from cgat_jax.files.arrays import digest_of, load_array, save_array
from cgat_jax.files.io import file_digest, read_sealed, write_sealed
from cgat_jax.files.ownership import kind_of

FORMAT, READABLE = 2, (1, 2)
OLD_STORAGE = "jpeg95-420"
AGAIN = "choose another folder, or delete this one and prepare it again"
IMAGES = "images"
_MANIFEST, _ARRAYS, _CONTENTS = "prepared.json", "arrays.npz", "contents.npy"
FILES = (_MANIFEST, _ARRAYS, _CONTENTS)
_PARTS = ("train", "query", "database")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of ``prepared.json``.

    ``storage`` says how resized images are kept, ``source`` where the originals lay;
    ``files`` are digests of the files with the images by name, and ``arrays`` and
    ``contents`` digests of the files of these names; empty in format 1.
    """

    format: int
    name: str
    image_size: int
    storage: str
    source: str
    notes: tuple[str, ...]
    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    files: dict[str, str]
    arrays: str
    contents: str


def is_own(root: Path) -> bool:
    """Whether an unmarked folder was prepared by this program.

    By an earlier version, or it was copied without its mark.
    """
    if not ((root / IMAGES).is_dir() and (root / _ARRAYS).is_file()):
        return False
    try:
        read_manifest(root)
    except (InputError, OSError):
        return False
    return True


def is_prepared(root: Path) -> bool:
    """Whether a preparation into ``root`` was finished."""
    marked = kind_of(root) == "data"
    return (root / _MANIFEST).is_file() and (marked or is_own(root))


def read_manifest(root: Path) -> Manifest:
    """What ``prepared.json`` says.

    Raises:
        DataError: damaged, or of a later version.
    """
    path = root / _MANIFEST
    try:
        content = read_sealed(path)
        found = content["format"]
        if found not in READABLE:
            known = " or ".join(str(number) for number in READABLE)
            raise DataError(f"{root}: format is {found!r}, not {known}; {AGAIN}")
        return Manifest(
            format=found,
            name=_text(content["name"]),
            image_size=_number(content["image_size"]),
            storage=_text(content.get("storage", OLD_STORAGE)),
            source=_text(content["source"]),
            notes=_texts(content["notes"]),
            class_names=_texts(content["class_names"]),
            image_ids=_texts(content["image_ids"]),
            files=dict(content.get("files", {})),
            arrays=_text(content.get("arrays", "")),
            contents=_text(content.get("contents", "")),
        )
    except (OSError, DamagedFileError) as error:
        raise DataError(f"{root}: damaged ({error}); {AGAIN}") from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = f"{path}: damaged, {type(error).__name__} {error}"
        raise DataError(f"{root}: damaged ({reason}); {AGAIN}") from error


def write_manifest(
    root: Path, listing: SourceIndex, built: Built, source: Path, image_size: int
) -> None:
    """Writes all but the images; ``prepared.json`` last."""
    arrays = {"labels": listing.labels, "sizes": built.sizes, **listing.parts}
    save_arrays(root / _ARRAYS, arrays)
    save_array(root / _CONTENTS, built.contents)
    manifest = Manifest(
        format=FORMAT,
        name=listing.name,
        image_size=image_size,
        storage=STORAGE,
        source=str(source.resolve()),
        notes=tuple(listing.notes),
        class_names=tuple(listing.class_names),
        image_ids=tuple(listing.image_ids),
        files=built.files,
        arrays=seal_of_arrays(arrays),
        contents=digest_of(built.contents),
    )
    content = dataclasses.asdict(manifest)
    lists = ("notes", "class_names", "image_ids")
    write_sealed(root / _MANIFEST, content | {key: [*content[key]] for key in lists})


def read_arrays(root: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    """Labels, parts of the split, and sizes where they are there; all checked.

    Raises:
        DataError: damaged.
    """
    path = root / _ARRAYS
    try:
        arrays = load_arrays(path)
        if manifest.arrays and manifest.arrays != seal_of_arrays(arrays):
            raise DamagedFileError(f"{path}: not the file that was prepared")
        _check_arrays(path, arrays, manifest)
    except (OSError, DamagedFileError) as error:
        raise DataError(f"{root}: damaged ({error}); {AGAIN}") from error
    return arrays


def read_contents(root: Path, manifest: Manifest) -> np.ndarray | None:
    """uint64 [M], digests of the original images' content, if they are there.

    Raises:
        DataError: damaged.
    """
    path, shape = root / _CONTENTS, (len(manifest.image_ids),)
    if not manifest.contents and not path.exists():
        return None
    try:
        contents = load_array(path, shape=shape, dtype=np.uint64)
        if manifest.contents and manifest.contents != digest_of(contents):
            raise DamagedFileError(f"{path}: not the file that was prepared")
    except (OSError, DamagedFileError) as error:
        raise DataError(f"{root}: damaged ({error}); {AGAIN}") from error
    return contents


def check_files(root: Path, manifest: Manifest, suffix: str = "") -> list[str]:
    """Lines on files with images that are missing or other than they were written.

    Args:
        root: the prepared folder.
        manifest: of it.
        suffix: only names that end so are looked at.
    """
    lines = []
    for name, digest in manifest.files.items():
        path = root / IMAGES / name
        if name.endswith(suffix):
            try:
                if file_digest(path) != digest:
                    lines.append(f"{path}: not as it was written")
            except OSError as error:
                lines.append(f"{path}: {error.strerror or error}")
    return lines


def _check_arrays(
    path: Path, arrays: dict[str, np.ndarray], manifest: Manifest
) -> None:
    count, classes = len(manifest.image_ids), len(manifest.class_names)
    wanted = {"labels": (np.uint8, (count, classes))}
    if "sizes" in arrays:
        wanted["sizes"] = (np.int32, (count, 2))
    lists = sorted(set(arrays) - set(wanted))
    if lists not in ([], sorted(_PARTS)):
        raise DamagedFileError(f"{path}: damaged, it holds {sorted(arrays)}")
    wanted |= {part: (np.int64, (-1,)) for part in lists}
    for name, (dtype, shape) in wanted.items():
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.ndim != len(shape):
            raise DamagedFileError(f"{path}: damaged, no {name} of the expected type")
        high = count - 1 if name in _PARTS else 1 if name == "labels" else 2**31
        if shape != (-1,) and array.shape != shape:
            raise DamagedFileError(f"{path}: damaged, {name} are {array.shape}")
        if array.size and not 0 <= array.min() <= array.max() <= high:
            raise DamagedFileError(f"{path}: damaged, {name} are out of range")


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"expected a number, got {value!r:.40}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.40}")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"expected a list, got {values!r:.40}")
    return tuple(_text(value) for value in values)
