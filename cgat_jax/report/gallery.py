"""Galleries: a query before and after its attack, and what the search answers."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.gallery_files import read_gallery
from cgat_jax.report.plotting import Picture
from cgat_jax.report.records import Run
from cgat_jax.report.summary import strongest

SMALL = 96  # narrower images are enlarged, pixel by pixel
THUMBNAIL = 144  # answers are shown 72 pixels wide, twice that on a fine screen


def load_galleries(
    run: Run, cells: list[ReportCell]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The galleries of a run in the tables' order, images as data URIs.

    The strongest attack on each defense is marked to be open.

    Returns:
        The galleries, and what is damaged and left out, a line each.
    """
    galleries, damaged = [], []
    for cell in cells:
        folder = run.path / "evaluate" / f"{cell.defense}-{cell.attack}"
        if not (folder / "gallery.json").is_file():
            continue
        queries, problems = read_gallery(folder)
        damaged += [f"evaluate/{folder.name}/{text}" for text in problems]
        worst = strongest(cells, cell.defense)
        galleries.append(
            {
                "defense": names.display(names.DEFENSES, cell.defense),
                "attack": names.display(names.ATTACKS, cell.attack),
                "open": worst is not None and worst.attack == cell.attack,
                "queries": [_query(query, folder) for query in queries],
            }
        )
    return galleries, damaged


def data_uri(content: bytes, kind: str = "png") -> str:
    """An image as the address of itself, so that a page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def inline(drawn: Picture) -> dict[str, Any]:
    """A drawing for a page: what it shows, its size, and its two versions."""
    with Image.open(io.BytesIO(drawn.light)) as image:
        width, height = image.size
    return {
        "alt": drawn.title,
        "width": width,
        "height": height,
        "light": data_uri(drawn.light),
        "dark": data_uri(drawn.dark),
    }


def picture(folder: Path, name: Any, largest: int | None = None) -> dict[str, Any]:
    """An image file for the page; ``src`` is None where there is none.

    Args:
        folder: where the image lies.
        name: of the file, which ``read_gallery`` has found sound; or None.
        largest: wider images are stored again, as JPEG of this width.
    """
    if name is None:
        return {"src": None, "small": False}
    content = (folder / name).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        small, wide = image.width < SMALL, largest and image.width > largest
        if wide:
            size = (largest, max(1, round(image.height * largest / image.width)))
            buffer = io.BytesIO()
            image.convert("RGB").resize(size).save(buffer, "JPEG", quality=88)
            return {"src": data_uri(buffer.getvalue(), "jpeg"), "small": small}
        kind = (image.format or "png").lower()
    return {"src": data_uri(content, kind), "small": small}


def _query(query: dict[str, Any], folder: Path) -> dict[str, Any]:
    magnified = query.get("magnified") or 1
    pictures = [
        ("query", query.get("clean")),
        ("adversarial query", query.get("adversarial")),
        (f"difference \N{MULTIPLICATION SIGN}{magnified:g}", query.get("difference")),
    ]
    answers = []
    for when in ("before", "after"):
        precision = query.get(f"average_precision_{when}")
        hits = query.get(when) or []
        answers.append(
            {
                "when": f"{when} the attack",
                "precision": None if precision is None else names.percent(precision),
                "correct": sum(bool(hit.get("relevant")) for hit in hits),
                "hits": [_hit(hit, folder) for hit in hits],
            }
        )
    return {
        "id": query.get("id", ""),
        "labels": _labels(query),
        "pictures": [
            {"name": name, **picture(folder, file)} for name, file in pictures
        ],
        "answers": answers,
        "codes": _strips(query.get("codes") or {}),
    }


def _strips(codes: dict[str, str]) -> list[dict[str, str]]:
    """Codes to draw bit by bit, with the number of bits that differ from the clean."""
    titles = {"clean": "clean", "adversarial": "adversarial", "aim": "aimed at"}
    return [
        {
            "name": title,
            "bits": codes[key],
            "flipped": sum(
                a != b for a, b in zip(codes[key], codes["clean"], strict=True)
            ),
        }
        for key, title in titles.items()
        if key in codes
    ]


def _hit(hit: dict[str, Any], folder: Path) -> dict[str, Any]:
    distance = hit.get("distance")
    return {
        "id": hit.get("id", ""),
        "labels": _labels(hit),
        "distance": "" if distance is None else f"{distance:g}",
        "relevant": bool(hit.get("relevant")),
        **picture(folder, hit.get("image"), THUMBNAIL),
    }


def _labels(entry: dict[str, Any]) -> str:
    return ", ".join(map(str, entry.get("labels") or [])) or "no label"
