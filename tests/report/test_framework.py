"""The picture of one query: the right one, or none."""

import json
from xml.etree import ElementTree

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
    assert "<title>small: query/1, coat, bag</title>" in picture  # 3 is not in both
    root = ElementTree.fromstring(picture)
    images = [each for each in root.iter() if each.tag.endswith("}image")]
    assert len(images) == 2 * (2 + 3)
    assert framework_picture("small", galleries) == picture


def test_answers_are_framed_by_their_relevance(tmp_path):
    picture = framework_picture("x", {"net": _gallery(tmp_path / "net", {0: 0.5})})
    frames = [
        picture.count(f'style="fill: none; stroke: {color}; stroke-width: 2')
        for color in ("#009e73", "#d55e00")
    ]
    assert frames == [2 * 4, 4]


def test_marks_are_below_bits_that_are_not_the_centers(tmp_path):
    """The center's code is the opposite of the goal: of "+0-+" two bits are not."""
    picture = framework_picture("x", {"net": _gallery(tmp_path / "net", {0: 0.5})})
    assert "clean code, 0 of 4 from the center" in picture
    assert "adversarial code, 2 of 4 from the center" in picture
    bits = picture.split("</style>", 1)[1]
    assert bits.count("fill: #d55e00") == 2


def test_without_a_common_query_there_is_no_picture(tmp_path):
    one, two = _gallery(tmp_path / "a", {0: 0.1}), _gallery(tmp_path / "b", {1: 0.1})
    assert framework_picture("x", {"a": one, "b": two}) is None
    assert framework_picture("x", {"a": one, "b": tmp_path / "nothing"}) is None
    assert (
        framework_picture("x", {"a": _gallery(tmp_path / "c", {0: 1}, False)}) is None
    )
