"""What a source lists, before any image is opened; and reading text files of it."""

import dataclasses
from pathlib import Path

import numpy as np

from cgat_jax.data.dataset import DataError

MAX_NAMED = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """M images of a source folder.

    ``image_ids`` are paths below ``folder``; ``labels`` is uint8 [M, C] of {0, 1};
    ``parts`` are positions {"train", "query", "database"}, or empty where the split is
    drawn later; ``notes`` are lines on what was left out.
    """

    name: str
    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    labels: np.ndarray
    folder: Path
    parts: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def require_folder(folder: Path) -> None:
    """Raises ``DataError`` unless ``folder`` is one."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the original files there")


def require_files(folder: Path, image_ids: tuple[str, ...]) -> None:
    """Raises ``DataError`` that counts the missing images and names the first ten."""
    missing = [name for name in image_ids if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {len(missing):,} of {len(image_ids):,} listed images are "
            f"missing: {some(missing)}"
        )


def some(names: list[str]) -> str:
    """The first ten names, comma separated, and an ellipsis if there are more."""
    more = ", ..." if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def read_text(path: Path) -> str:
    """Content of a UTF-8 file.

    Raises:
        DataError: if it is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
