"""Decoding, converting, resizing and cropping images on the host, with Pillow."""

import io
import math

import numpy as np
from PIL import Image, ImageOps

from cgat_jax.data.dataset import DataError

MAX_BYTES = 50 * 10**6
MAX_PIXELS = 50 * 10**6
JPEG_QUALITY = 95
STORAGE = "jpeg95-444"
"""How ``store`` keeps an image that it resized: JPEG quality and chroma."""

# Named, because Pillow otherwise also tries formats that start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png"),
        *(".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"),
    )
)
"""What the names of image files end in, where a folder is searched for them."""
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_DEEPEST_16 = ("PNG", "PPM")  # whose grey of 16 bits some versions of Pillow call "I"
_ORIENTATION = 0x0112
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class UnreadableError(DataError):
    """Not an image at all."""


class DamagedError(DataError):
    """The beginning of an image, cut off, damaged or of an unusual kind."""


class OversizedError(DataError):
    """Over 50 megapixels or megabytes, as it is or once enlarged; not used."""


def decode(data: bytes, name: str) -> np.ndarray:
    """RGB uint8 [h, w, 3] of an encoded image.

    EXIF rotation is applied; grey, CMYK and palette images are converted; 16-bit grey
    is scaled; transparency is laid on white; of an animation the first frame counts.

    Args:
        data: the content of an image file, whatever its name ends in.
        name: what error messages call it.

    Raises:
        DataError: not a complete image, or over 50 megapixels or megabytes, which is
            refused before any pixel is decoded.
    """
    return np.asarray(_load(data, name))


def store(data: bytes, name: str, size: int) -> bytes:
    """The bytes to keep of an image whose short side shall be at most ``size``.

    An image that is small enough loses nothing: a plain RGB JPEG stays as it is, any
    other is kept as PNG. A larger one is resized and kept as JPEG of quality 95 with
    full chroma (4:4:4).

    Raises:
        DataError: as ``decode`` does, or so narrow that it is over 50 megapixels where
            it is enlarged to ``size``, as readers do.
    """
    image = _load(data, name)
    if clause := too_narrow(*image.size, size):
        raise OversizedError(f"{name}: {clause}; crop it, or leave it out")
    if min(image.size) > size:
        return _encode(resize_short_side(np.asarray(image), size), "JPEG")
    original = _open(data, name)
    plain = original.format == "JPEG" and original.mode == "RGB"
    upright = original.getexif().get(_ORIENTATION, 1) == 1
    return data if plain and upright else _encode(np.asarray(image), "PNG")


def resize_short_side(
    image: np.ndarray, size: int, *, enlarge: bool = False
) -> np.ndarray:
    """Scales uint8 [h, w, 3] to short side ``size``, up only with ``enlarge``.

    Bilinear with antialias; the long side is ``int(size * long / short)``, as
    torchvision's ``Resize`` does it on Pillow images.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    if short == size or (short < size and not enlarge):
        return image
    new_size = enlarged(width, height, size)
    resized = Image.fromarray(image).resize(new_size, Image.Resampling.BILINEAR)
    return np.asarray(resized)


def enlarged(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height once the short side is ``size``."""
    short = min(width, height)
    return int(size * width / short), int(size * height / short)


def too_narrow(width: int, height: int, size: int) -> str:
    """A clause on an image that is too large once it is enlarged to ``size``, or ""."""
    short = min(width, height)
    if short >= size or math.prod(enlarged(width, height, size)) <= MAX_PIXELS:
        return ""
    return (
        f"{width} x {height}, enlarged to a short side of {size} pixels, is over 50 "
        "megapixels"
    )


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """Width and height that the header of a stored image says; nothing is decoded.

    Raises:
        DataError: not an image.
    """
    return _open(data, name).size


def center_offset(length: int, size: int) -> int:
    """Where a centered crop starts: torchvision's rule, halves to even."""
    return int(round((length - size) / 2))


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The square of side ``size`` in the middle of uint8 [h, w, 3]; a view."""
    top, left = (center_offset(length, size) for length in image.shape[:2])
    return image[top : top + size, left : left + size]


def random_crop(image: np.ndarray, size: int, draw: np.ndarray) -> np.ndarray:
    """A square of side ``size`` anywhere in uint8 [h, w, 3], maybe mirrored; a view.

    Args:
        image: at least ``size`` high and wide.
        size: side of the square in pixels.
        draw: three numbers in [0, 1): place along height, along width, and a mirror
            image where the third is below 1/2.
    """
    rooms = np.array(image.shape[:2]) - size + 1
    top, left = np.floor(draw[:2] * rooms).astype(int)
    crop = image[top : top + size, left : left + size]
    return crop[:, ::-1] if draw[2] < 0.5 else crop


def _open(data: bytes, name: str) -> Image.Image:
    """Reads the header only, and refuses what is too big to decode."""
    if not data:
        raise UnreadableError(f"{name}: the file is empty")
    if len(data) > MAX_BYTES:
        raise OversizedError(
            f"{name}: {len(data) / 1e6:.0f} MB; at most 50 MB are read"
        )
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except _BOMBS:
        raise OversizedError(f"{name}: over 50 megapixels, not decoded") from None
    except Exception as error:
        # Pillow's readers raise whatever malformed bytes lead them to.
        raise UnreadableError(f"{name}: not a readable image{_what(data)}") from error
    if image.width * image.height > MAX_PIXELS:
        pixels = f"{image.width} x {image.height}"
        raise OversizedError(f"{name}: {pixels} is over 50 megapixels, not decoded")
    return image


def _what(data: bytes) -> str:
    """What bytes that are no readable image begin as."""
    kinds = (kind for start, kind in _STARTS.items() if data.startswith(start))
    if kind := next(kinds, ""):
        return f": a {kind} that is cut off or damaged"
    return f"; starts {bytes(data[:12])!r}"


def _load(data: bytes, name: str) -> Image.Image:
    image = _open(data, name)
    try:
        return _to_rgb(ImageOps.exif_transpose(image), image.format)
    except Exception as error:
        raise DamagedError(f"{name}: damaged, cut off or unusual: {error}") from error


def _to_rgb(image: Image.Image, kind: str) -> Image.Image:
    if image.mode == "I" and kind not in _DEEPEST_16:
        raise ValueError("32-bit or signed grey: convert it to 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(np.asarray(image)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are floating point numbers")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(grey: np.ndarray) -> Image.Image:
    """Scales [0, 65535] to [0, 255]; Pillow's own conversion clips at 255."""
    return Image.fromarray(((grey.astype(np.int64) + 128) // 257).astype(np.uint8))


def _encode(image: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()
