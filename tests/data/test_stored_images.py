"""The benchmark of stored images, on photos that the test makes."""

import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import stored_images
from cgat_jax.data import images
from tests.data.sources import encode


@pytest.fixture
def photos(tmp_path, rng):
    """Colors that change from pixel to pixel, where chroma shows most."""
    for i in range(6):
        coarse = rng.integers(0, 256, (90, 100, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((300, 270)))
        (tmp_path / f"{i}.png").write_bytes(encode(pixels, "PNG"))
    (tmp_path / "small.png").write_bytes(encode(pixels[:200], "PNG"))
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def test_the_released_crop_is_pillows_own(photos):
    """Reference: Resize(256) and CenterCrop(224) as torchvision has them, by hand."""
    data = (photos / "0.png").read_bytes()
    photo = stored_images.keep(data)
    scaled = Image.open(photos / "0.png").resize((284, 256), Image.BILINEAR)
    oracle = np.asarray(scaled.crop((30, 16, 254, 240)))
    np.testing.assert_array_equal(photo.crops["released"], oracle)
    stored = images.decode(images.store(data, "0", 256), "0")
    np.testing.assert_array_equal(photo.crops["4:4:4"], stored[16:240, 30:254])


@pytest.mark.long
def test_the_table_says_that_full_chroma_is_nearer(photos, tmp_path, monkeypatch):
    out = tmp_path / "out.md"
    given = ["stored_images", f"--images={photos}", f"--out={out}", "--bits=4"]
    monkeypatch.setattr(sys, "argv", given)
    stored_images.main()
    text = out.read_text()
    assert "\n6 photos with a short side over 256 pixels." in text
    assert str(tmp_path) not in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| 4:")]
    full, half = ([float(cell.strip(" |")) for cell in row[1:]] for row in rows)
    assert full[0] < half[0] and full[1] < half[1] and full[2] > half[2]
    monkeypatch.setattr(sys, "argv", [*given[:2], "--bits=6"])
    with pytest.raises(SystemExit, match="6 photos .* expected more than 6"):
        stored_images.main()
