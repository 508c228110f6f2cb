import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from cgat_jax.data import images
from cgat_jax.data.dataset import DataError
from tests.data.sources import encode, photo

PHOTO = photo(0, 30, 40)


def bomb(width, height):
    """A PNG whose header promises width x height pixels, in under 200 bytes."""

    def chunk(kind, data):
        body = kind + data
        check = zlib.crc32(body).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + body + check

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0"
    pixels = zlib.compress(b"\0" * 10)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "empty"),
        (b"<html><body>404 Not Found</body></html>", "not a readable image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
        (encode(PHOTO)[:-100], "damaged"),
        (
            encode(PHOTO)[:100],
            "not a readable image: a JPEG that is cut off or damaged",
        ),
        (encode(PHOTO, "PNG")[:-60], "damaged"),
        (bomb(8000, 8000), "8000 x 8000 is over 50 megapixels"),
        (bomb(10_000, 10_000), "over 50 megapixels"),
        (bomb(30_000, 30_000), "over 50 megapixels"),
        (encode(PHOTO) + bytes(50 * 10**6), "at most 50 MB"),
        (encode(Image.new("F", (4, 4)), "TIFF"), "floating point"),
        (
            encode(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"),
            "32-bit or signed grey: convert it to 8 or 16 bits",
        ),
        (
            encode(Image.fromarray(np.full((4, 4), 200, np.int32)), "TIFF"),
            "32-bit or signed grey: convert it to 8 or 16 bits",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("function", [images.decode, lambda *a: images.store(*a, 8)])
def test_what_is_not_an_image_is_refused_by_name(data, message, function):
    with pytest.raises(DataError, match=f"^some/file.jpg: .*{message}"):
        function(data, "some/file.jpg")


def test_a_bomb_is_refused_where_warnings_are_not_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="over 50 megapixels"):
            images.decode(bomb(10_000, 10_000), "bomb.png")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_decode_to_their_pixels(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = images.decode(encode(PHOTO, kind, **options), "misnamed.jpg")
    np.testing.assert_array_equal(decoded, PHOTO)
    assert decoded.dtype == np.uint8


def test_grey_and_palette_and_cmyk_become_rgb():
    grey = PHOTO[:, :, 0]
    decoded = images.decode(encode(grey, "PNG"), "grey")
    np.testing.assert_array_equal(decoded, np.repeat(grey[:, :, None], 3, axis=2))

    palette = Image.fromarray(PHOTO).quantize(16)
    decoded = images.decode(encode(palette, "PNG"), "palette")
    np.testing.assert_array_equal(decoded, np.asarray(palette.convert("RGB")))

    cmyk = encode(Image.fromarray(PHOTO).convert("CMYK"), quality=100)
    decoded = images.decode(cmyk, "cmyk").astype(int)
    assert np.abs(decoded - PHOTO).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    grey = np.array([[0, 128, 129, 257], [32_896, 65_407, 65_408, 65_535]], np.uint16)
    decoded = images.decode(encode(grey, kind), "deep")
    np.testing.assert_array_equal(
        decoded[:, :, 1], [[0, 0, 1, 1], [128, 255, 255, 255]]
    )


def test_transparency_is_laid_on_white():
    layer = np.zeros((1, 3, 4), np.uint8)
    layer[0, :, 3] = [0, 255, 51]
    decoded = images.decode(encode(layer, "PNG"), "layer")
    np.testing.assert_array_equal(decoded[0, :, 0], [255, 0, 204])

    keyed = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    decoded = images.decode(encode(keyed, "PNG", transparency=(1, 2, 3)), "keyed")
    np.testing.assert_array_equal(decoded[0], [[255, 255, 255], [4, 5, 6]])

    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 20, 30, 40])
    palette.putdata([0, 1])
    data = encode(palette, "PNG", transparency=b"\x00\xff")
    np.testing.assert_array_equal(
        images.decode(data, "palette")[0], [[255, 255, 255], [20, 30, 40]]
    )


def test_the_first_frame_counts():
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(images.decode(data, "moving")[0, 0], [255, 0, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(PHOTO, "PNG", exif=exif)
    turned = {
        1: PHOTO,
        2: PHOTO[:, ::-1],
        3: PHOTO[::-1, ::-1],
        4: PHOTO[::-1],
        5: PHOTO.transpose(1, 0, 2),
        6: np.rot90(PHOTO, -1),
        7: PHOTO[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PHOTO),
    }[orientation]
    np.testing.assert_array_equal(images.decode(data, "turned"), turned)


def test_a_small_plain_jpeg_is_stored_as_it_is():
    data = encode(PHOTO, quality=80)
    assert images.store(data, "photo", 30) == data


@pytest.mark.parametrize(
    "data",
    [
        encode(PHOTO, "PNG"),
        encode(PHOTO[:, :, 0], quality=90),
        encode(Image.fromarray(PHOTO).convert("CMYK")),
    ],
)
def test_other_small_images_lose_nothing(data):
    stored = images.store(data, "photo", 30)
    assert Image.open(io.BytesIO(stored)).format == "PNG"
    np.testing.assert_array_equal(images.decode(stored, "a"), images.decode(data, "b"))


def test_a_turned_jpeg_is_stored_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = images.store(encode(PHOTO, exif=exif), "photo", 30)
    assert Image.open(io.BytesIO(stored)).size == (30, 40)


def test_a_large_image_is_stored_resized_as_jpeg():
    large = photo(0, 300, 400)
    stored = images.store(encode(large, "PNG"), "photo", 150)
    assert Image.open(io.BytesIO(stored)).format == "JPEG"
    expected = images.resize_short_side(large, 150).astype(int)
    assert np.abs(images.decode(stored, "stored") - expected).mean() < 2


@pytest.mark.parametrize("width, height", [(1, 2_000), (9_000_000, 1)])
def test_a_strip_that_readers_would_enlarge_too_far_is_not_stored(width, height):
    data = encode(Image.new("RGB", (width, height)), "PNG")
    message = f"^strip.png: {width} x {height}, enlarged to a short side of 256 pix"
    with pytest.raises(images.OversizedError, match=message):
        images.store(data, "strip.png", 256)
    assert images.store(encode(Image.new("RGB", (9, 1_000))), "narrow.jpg", 256)


@pytest.mark.parametrize(
    "size, expected", [((480, 640), (256, 341)), ((427, 256), (427, 256))]
)
def test_resizing_follows_pillow_and_truncates_the_long_side(size, expected):
    """Reference: torchvision's Resize, int(256 * long / short), on Pillow."""
    image = photo(1, *size)
    resized = images.resize_short_side(image, 256)
    assert resized.shape[:2] == expected
    oracle = Image.fromarray(image).resize(expected[::-1], Image.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(oracle))


def test_nothing_is_enlarged_unless_asked_for():
    assert images.resize_short_side(PHOTO, 60) is PHOTO
    assert images.resize_short_side(PHOTO, 60, enlarge=True).shape == (60, 80, 3)


@pytest.mark.parametrize(
    "length, size, offset",
    [(256, 224, 16), (341, 224, 58), (257, 224, 16), (259, 224, 18), (224, 224, 0)],
)
def test_center_offsets_round_halves_to_even(length, size, offset):
    """By hand: 117 / 2 = 58.5 -> 58, 33 / 2 = 16.5 -> 16, 35 / 2 = 17.5 -> 18."""
    assert images.center_offset(length, size) == offset


def test_center_crop_cuts_both_sides():
    image = np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3)
    np.testing.assert_array_equal(images.center_crop(image, 4), image[0:4, 2:6])


def test_random_crops_reach_every_place_alike(rng):
    """Places and mirror images are uniform: 3 x 6 x 2 outcomes, 5 sigma."""
    image = np.zeros((6, 9, 3), np.uint8)
    image[:, :, 0] = np.arange(6)[:, None]
    image[:, :, 1] = np.arange(9)
    draws = rng.random((36_000, 3))
    corners = [images.random_crop(image, 4, draw)[0] for draw in draws]
    outcomes = [(row[0, 0], row[0, 1], row[0, 1] < row[1, 1]) for row in corners]
    counts = np.unique(np.array(outcomes), axis=0, return_counts=True)[1]
    assert len(counts) == 36
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_extreme_draws_stay_inside():
    for draw in ([0.0, 0.0, 0.0], [1 - 2**-53] * 3):
        crop = images.random_crop(PHOTO, 30, np.array(draw))
        assert crop.shape == (30, 30, 3)
