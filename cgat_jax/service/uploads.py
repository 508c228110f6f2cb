"""What a request asks for: a photo of a form, or a code or a query's number of JSON.

Nothing here opens a file, and no text of a request is a path.
"""

import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import numpy as np
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cgat_jax.data.dataset import DataError
from cgat_jax.data.images import OversizedError, UnreadableError, decode, size_of
from cgat_jax.service.limits import Limits, Refused

_MOST_LABELS, _LONGEST, _MOST_NUMBER = 64, 300, 2**31
_PART = 16_384  # bytes of a field that is no file
_JSON = 131_072  # bytes
_MOST_SCANS = 100  # of a JPEG; programs write about ten, and libtiff has this limit too
# The marker of a scan, its length, and its number of components, which fix the length:
# no scan is decoded without these bytes, and by chance they are nowhere.
_SCAN = re.compile(rb"\xff\xda\x00(?:\x06\x00|\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")


class Asked(NamedTuple):
    """What a request has; fields that it lacks are empty.

    Attributes:
        fields: text and numbers by name; ``labels`` is a list.
        photo: the content of an image file.
    """

    fields: dict[str, Any]
    photo: bytes = b""

    def text(self, name: str) -> str:
        """A field as text that can be shown.

        Raises:
            Refused: it is none, or too long.
        """
        found = self.fields.get(name, "")
        if not isinstance(found, str):
            raise Refused(422, f"{name}: expected text")
        return checked_text(found, name)

    def number(self, name: str, default: int, high: int, low: int = 1) -> int:
        """A field as a whole number.

        Raises:
            Refused: it is none, or out of range.
        """
        found = self.fields.get(name, default)
        if isinstance(found, str) and re.fullmatch("-?[0-9]{1,11}", found):
            found = int(found)
        whole = isinstance(found, int) and not isinstance(found, bool)
        if not whole or not low <= found <= high:
            raise Refused(422, f"{name}: expected a whole number, {low} to {high}")
        return found

    def labels(self) -> list[str]:
        """The field ``labels``: names of classes, each once.

        Raises:
            Refused: they are none, or too many.
        """
        found = self.fields.get("labels", [])
        if not isinstance(found, list) or len(found) > _MOST_LABELS:
            raise Refused(422, f"labels: expected at most {_MOST_LABELS} names")
        if not all(isinstance(name, str) and name for name in found):
            raise Refused(422, "labels: expected names")
        return list(dict.fromkeys(checked_text(name, "labels") for name in found))


def checked_text(text: str, name: str) -> str:
    """Text that can be kept and shown.

    Raises:
        Refused: it cannot.
    """
    if len(text) > _LONGEST or not text.isprintable():
        raise Refused(422, f"{name}: expected at most {_LONGEST} printable letters")
    return text


async def read_request(request: Request, limits: Limits) -> Asked:
    """The form or the JSON object of a request.

    Raises:
        Refused: it has neither, or another shape.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "application/json":
        return _of_json(await request.body())
    if kind != "multipart/form-data":
        raise Refused(
            415, "expected a form (multipart/form-data) with an image, or JSON"
        )
    async with form_of(
        request, max_files=1, max_fields=_MOST_LABELS + 16, max_part_size=_PART
    ) as form:
        return await _of_form(form, limits)


@contextlib.asynccontextmanager
async def form_of(request: Request, **most: int) -> AsyncIterator[FormData]:
    """The fields of a form, of text in UTF-8.

    Starlette would decode them as the client says, by any of Python's codecs: some take
    seconds for a small field (punycode), some raise what nobody expects (idna).

    Raises:
        Refused: it is of another encoding, has more than ``most``, or cannot be read.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise Refused(415, "expected a form in UTF-8")
    try:
        async with request.form(**most) as form:
            yield form
    except (HTTPException, ValueError) as error:
        detail = getattr(error, "detail", str(error))
        raise Refused(422, f"the form cannot be read: {detail}") from error


async def _of_form(form: FormData, limits: Limits) -> Asked:
    fields: dict[str, Any] = {}
    photo = b""
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "image":
                raise Refused(422, "expected a file in the field 'image' alone")
            photo = await value.read()
            if len(photo) > limits.upload_bytes:
                most = f"{limits.upload_bytes:,}"
                raise Refused(413, f"image: at most {most} bytes are read")
        elif name == "labels":
            fields.setdefault("labels", []).append(value)
        else:
            fields[name] = value
    return Asked(fields, photo)


def _of_json(content: bytes) -> Asked:
    if len(content) > _JSON:
        raise Refused(413, f"JSON: at most {_JSON:,} bytes are read")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refused(422, "expected JSON") from error
    if not isinstance(found, dict):
        raise Refused(422, "expected a JSON object")
    return Asked(found)


def read_photo(photo: bytes, limits: Limits) -> np.ndarray:
    """RGB uint8 [h, w, 3] of an upload; what it would cost is looked at first.

    Raises:
        Refused: 415: no image; 413: too large; 422: it is damaged, or has so many scans
            that a small file would be decoded for hours.
    """
    if not photo:
        raise Refused(422, "image: expected a file with a photo")
    try:
        width, height = size_of(photo, "image")
        if width * height > limits.pixels:
            most = f"{limits.pixels / 10**6:g}"
            raise Refused(413, f"image: {width} x {height}; at most {most} megapixels")
        if photo.startswith(b"\xff\xd8") and _scans(photo) > _MOST_SCANS:
            raise Refused(422, f"image: a JPEG of more than {_MOST_SCANS} scans")
        return decode(photo, "image")
    except UnreadableError as error:
        kinds = "JPEG, PNG, BMP, GIF, WEBP, TIFF or PPM"
        raise Refused(415, f"image: not one that can be read ({kinds})") from error
    except (OversizedError, MemoryError) as error:
        raise Refused(413, "image: too large") from error
    except DataError as error:
        raise Refused(422, "image: damaged, cut off or unusual") from error


def _scans(photo: bytes) -> int:
    """How many scans a JPEG has, counted without decoding."""
    return sum(1 for _ in _SCAN.finditer(photo))


def read_code(asked: Asked, bits: int) -> np.ndarray:
    """The field ``code``: int8 [1, bits] of -1 and +1.

    Raises:
        Refused: it is none.
    """
    code = asked.fields.get("code")
    right = isinstance(code, list) and len(code) == bits
    if not right or not all(type(x) in (int, float) and x in (-1, 1) for x in code):
        raise Refused(422, f"code: expected {bits} numbers, each -1 or 1")
    return np.array([code], np.int8)
