"""Photos of any folder, and the small pictures that stand for them in answers."""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cgat_jax.data.dataset import DataError
from cgat_jax.data.images import SUFFIXES, decode
from cgat_jax.errors import InputError
from cgat_jax.search.checked import checked_text

SIDE = 160
"""Longest side of a small picture in pixels."""


class Photos(NamedTuple):
    """The photos of a folder: their paths below it, and how many files are none."""

    folder: Path
    paths: list[str]
    others: int


def find_photos(folder: Path) -> Photos:
    """All photos below a folder by the endings of their names, in the order of names.

    Hidden files and folders are passed over, and links to folders are not followed.

    Raises:
        InputError: it is no folder, or holds no photo.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; expected one with photos")
    paths, others = [], 0

    def fail(error: OSError) -> None:
        raise error

    for where, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(where, name)
            if name.startswith(".") or not path.is_file():
                continue
            if path.suffix.lower() in SUFFIXES:
                paths.append(path.relative_to(folder).as_posix())
            else:
                others += 1
    if not paths:
        kinds = ", ".join(sorted(SUFFIXES))
        raise InputError(f"{folder}: no photo in it or below ({kinds})")
    return Photos(folder, sorted(paths), others)


def read_photo(path: Path) -> np.ndarray:
    """RGB uint8 [h, w, 3] of a file.

    Raises:
        DataError: it is no complete image, or too large to be decoded.
        OSError: it cannot be read.
    """
    return decode(path.read_bytes(), str(path))


def check_size(photo: np.ndarray, path: Path, card: Mapping[str, Any]) -> None:
    """Finds that a network sees a whole square of a photo.

    Args:
        photo: RGB uint8 [h, w, 3].
        path: of it, for the message.
        card: of the network, which may not enlarge.

    Raises:
        DataError: the photo is too small.
    """
    height, width = photo.shape[:2]
    if not card["enlarge"] and min(height, width) < (size := card["crop_size"]):
        raise DataError(
            f"{path}: {width} x {height} pixels, smaller than the network's {size}"
        )


def origin_of(path: Path) -> str:
    """What a file is while its size and its time stay the same."""
    known = path.stat()
    return f"{known.st_size} {known.st_mtime_ns}"


def readable(
    photos: Photos, paths: list[str], failed: dict[str, str], card: Mapping[str, Any]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields (path, origin, image) of the files that can be used; notes the others.

    Args:
        photos: of a folder.
        paths: those of them that are wanted.
        failed: gets a line for each that cannot be read, kept or encoded.
        card: of the network that is to encode them.
    """
    for path in paths:
        place = photos.folder / path
        try:
            checked_text(path, "photo")  # to be an id; names of files are any bytes
            origin, photo = origin_of(place), read_photo(place)
            check_size(photo, place, card)
        except (InputError, OSError) as error:
            failed[path] = " ".join(str(error).split())
        else:
            yield path, origin, photo


def small_picture(image: np.ndarray, side: int = SIDE) -> bytes:
    """A JPEG of at most ``side`` pixels, of RGB uint8 or floating point in [0, 1]."""
    if image.dtype != np.uint8:
        image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    return encoded(picture, "JPEG", quality=85)


def png(image: np.ndarray) -> bytes:
    """A PNG of RGB uint8 [h, w, 3]: every pixel as it is."""
    return encoded(Image.fromarray(image), "PNG")


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    """A picture as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def content_of(image: np.ndarray) -> str:
    """A digest of pixels."""
    return hashlib.sha256(image.tobytes()).hexdigest()
