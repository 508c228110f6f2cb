"""The picture of one query: the right one, in both colors, or none."""

import io
import json

import numpy as np
from PIL import Image

from cgat_jax.report.framework import framework_picture


def _gallery(folder, falls, aim=True):
    """A gallery of queries whose average precision falls by these amounts."""
    folder.mkdir(parents=True)
    for name in ("clean", "adversarial", "hit"):
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / f"{name}.png")
    codes = {"clean": "++--", "adversarial": "+0-+"} | ({"aim": "--++"} if aim else {})
    hit = {"image": "hit.png", "relevant": True}
    queries = [
        {
            "id": f"query/{n}",
            "labels": ["coat", "bag"],
            "average_precision_before": 0.9,
            "average_precision_after": 0.9 - fall,
            "codes": codes,
            "clean": "clean.png",
            "adversarial": "adversarial.png",
            "before": [hit, hit | {"relevant": False}],
            "after": [hit],
        }
        for n, fall in falls.items()
    ]
    (folder / "gallery.json").write_text(json.dumps({"queries": queries}))
    return folder


def test_the_query_is_the_one_that_falls_most_without_a_defense(tmp_path):
    galleries = {
        "undefended": _gallery(tmp_path / "none", {0: 0.1, 1: 0.5, 2: 0.4, 3: 0.9}),
        "CgAT": _gallery(tmp_path / "cgat", {0: 0.3, 1: 0.0, 2: 0.1}),
    }
    picture = framework_picture("small", galleries)
    assert picture.title == "small: query/1, coat, bag"  # 3 is not in both
    corners = []
    for content in (picture.light, picture.dark):
        with Image.open(io.BytesIO(content)) as image:
            assert image.width > 1000 and image.height > 700
            corners.append(image.convert("RGB").getpixel((0, 0)))
    assert corners == [(255, 255, 255), (23, 27, 33)]
    again = framework_picture("small", galleries)
    assert again.light == picture.light


def test_answers_are_framed_by_their_relevance(tmp_path):
    picture = framework_picture("x", {"net": _gallery(tmp_path / "net", {0: 0.5})})
    with Image.open(io.BytesIO(picture.light)) as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 20)}
    assert {(0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)} <= colors


def test_without_a_common_query_there_is_no_picture(tmp_path):
    one, two = _gallery(tmp_path / "a", {0: 0.1}), _gallery(tmp_path / "b", {1: 0.1})
    assert framework_picture("x", {"a": one, "b": two}) is None
    assert framework_picture("x", {"a": one, "b": tmp_path / "nothing"}) is None
    assert (
        framework_picture("x", {"a": _gallery(tmp_path / "c", {0: 1}, False)}) is None
    )
