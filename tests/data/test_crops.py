"""Images of any size are cropped as the data preparation and the evaluation do it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgat_jax.data import images
from cgat_jax.data.crops import center_crops
from cgat_jax.errors import InputError
from tests.data.sources import encode, photo

SIZES = {"image_size": 24, "crop_size": 16}


@given(st.integers(0, 9), st.integers(17, 60), st.integers(17, 60))
def test_they_are_what_preparing_and_reading_gives(seed, height, width):
    """Of PNG images up to the stored size, which are stored without loss."""
    image = photo(seed, height, width)
    (crop,) = center_crops([image], **SIZES)
    kept = image
    if min(height, width) <= 24:
        data = images.store(encode(image, "PNG"), "name", 24)
        kept = images.decode(data, "name")
    resized = images.resize_short_side(kept, 24, enlarge=True)
    np.testing.assert_array_equal(crop, images.center_crop(resized, 16))


@given(st.integers(0, 9), st.integers(10, 60), st.integers(10, 60))
def test_the_filter_of_floating_point_images_is_that_of_pixels(seed, height, width):
    image = photo(seed, height, width)
    (pixels,) = center_crops([image], **SIZES)
    (real,) = center_crops([image / 255], **SIZES)
    assert real.dtype == np.float32 and 0 <= real.min() and real.max() <= 1
    # Pillow rounds pixels after each of its two passes.
    np.testing.assert_allclose(real * 255, pixels, atol=1.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_squares_of_the_crop_stay_as_they_are(rng, dtype):
    given_images = rng.integers(0, 2, (3, 16, 16, 3)).astype(dtype)
    crops = center_crops(given_images, **SIZES)
    np.testing.assert_array_equal(crops, given_images)
    assert crops.dtype == (np.uint8 if dtype == np.uint8 else np.float32)


def test_sizes_may_differ():
    crops = center_crops(
        [photo(0, 30, 50), photo(1, 16, 16), photo(2, 24, 99)], **SIZES
    )
    assert crops.shape == (3, 16, 16, 3)


def test_without_enlarging_a_small_image_is_cropped_as_it_is():
    image = photo(0, 18, 20)
    (crop,) = center_crops([image], **SIZES, enlarge=False)
    np.testing.assert_array_equal(crop, image[1:17, 2:18])
    (real,) = center_crops([image / 255], **SIZES, enlarge=False)
    np.testing.assert_array_equal(real, (image[1:17, 2:18] / 255).astype(np.float32))
    with pytest.raises(InputError, match="image 7: 20 x 10 pixels, smaller than"):
        center_crops([photo(0, 10, 20)], **SIZES, enlarge=False, first=7)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_strip_is_refused_before_it_is_enlarged_too_far(dtype):
    strip = np.zeros((100_000, 1, 3), dtype)
    with pytest.raises(InputError, match="image 0: 1 x 100000, enlarged to a short"):
        center_crops([strip], **SIZES)
    with pytest.raises(InputError, match="smaller than the network's 16"):
        center_crops([strip], **SIZES, enlarge=False)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((20, 20), np.uint8), r"expected RGB .h, w, 3., got shape \[20, 20\]"),
        (np.zeros((20, 20, 4), np.uint8), "expected RGB"),
        (np.zeros((0, 20, 3), np.uint8), "expected RGB"),
        (np.zeros((20, 20, 3), np.int64), "got int64"),
        (np.full((20, 20, 3), 255.0), "are in .0, 1., got 255 to 255"),
        (np.full((20, 20, 3), np.nan), "got nan to nan"),
        (np.full((20, 20, 3), -0.1), "got -0.1"),
    ],
)
def test_what_is_no_image_is_named(image, message):
    with pytest.raises(InputError, match=f"image 1: .*{message}"):
        center_crops([photo(0, 20, 20), image], **SIZES)


def test_pixels_and_floating_point_are_not_mixed():
    with pytest.raises(InputError, match="give one kind"):
        center_crops([photo(0, 20, 20), photo(0, 20, 20) / 255], **SIZES)
