"""Galleries: a query before and after its attack, and what the search answers."""

import base64
import hashlib
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import read_sealed
from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.checks import is_query
from cgat_jax.report.records import Run
from cgat_jax.report.summary import strongest

MOMENTS = ("before", "after")
SMALL = 96  # narrower images are enlarged, pixel by pixel
_OPTIONAL = ("id", "labels", "magnified", "codes", "relevant", "distance")
_OPTIONAL += tuple(f"average_precision_{when}" for when in MOMENTS)
THUMBNAIL = 144  # answers are shown 72 pixels wide, twice that on a fine screen


def load_galleries(
    runs: Sequence[Run], cells: list[ReportCell]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The galleries of runs in the tables' order.

    The strongest attack on each network is marked to be open. Of several runs only it
    is loaded.

    Args:
        runs: one of each setting.
        cells: of all runs.

    Returns:
        The galleries, and what is damaged and left out, a line each.
    """
    galleries, damaged = [], []
    for cell, run in itertools.product(cells, runs):
        folder = run.path / "evaluate" / f"{cell.defense}-{cell.attack}"
        names_here = {names.network(record) for record in run.records}
        worst = strongest(cells, cell.network)
        is_worst = worst is not None and worst.attack == cell.attack
        if cell.network not in names_here or not (folder / "gallery.json").is_file():
            continue
        if len(runs) > 1 and not is_worst:
            continue
        queries, problems = read_gallery(folder)
        damaged += [f"evaluate/{folder.name}/{text}" for text in problems]
        galleries.append(
            {
                "network": cell.network,
                "attack": names.display(names.ATTACKS, cell.attack),
                "open": is_worst,
                "queries": queries,
                "folder": folder,
            }
        )
    return galleries, damaged


def read_gallery(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The queries of a gallery, and a line for each thing in it that is damaged.

    Pictures are looked for in the folder alone, wherever their names lead; the name of
    one that is missing or not as it was written becomes None.
    """
    file = folder / "gallery.json"
    try:
        content = read_sealed(file) if file.is_file() else {"queries": []}
    except DamagedFileError:
        content = {}
    found, digests = content.get("queries"), content.get("pictures") or {}
    if not isinstance(found, list) or not isinstance(digests, dict):
        return [], [f"{file.name}: damaged, its queries are left out"]
    queries = [query for query in found if is_query(query)]
    problems = []
    if number := len(found) - len(queries):
        problems.append(f"{file.name}: {number} damaged queries are left out")

    def sound(entry: dict[str, Any], *kinds: str) -> dict[str, Any]:
        """An entry with the names of sound pictures only; others become problems."""
        entry = dict.fromkeys((*_OPTIONAL, *kinds)) | entry
        for kind in (kind for kind in kinds if entry[kind] is not None):
            name = Path(entry[kind]).name
            entry[kind] = name if _is_sound(folder / name, digests.get(name)) else None
            if entry[kind] is None:
                problems.append(f"{name}: picture missing or damaged, left out")
        return entry

    return [
        sound(query, "clean", "adversarial", "difference")
        | {when: [sound(hit, "image") for hit in query[when]] for when in MOMENTS}
        for query in queries
    ], problems


def is_whole(query: dict[str, Any]) -> bool:
    """Whether all pictures of a query are there, but for the difference."""
    hits = [hit["image"] for when in MOMENTS for hit in query[when]]
    return None not in (query["clean"], query["adversarial"], *hits)


def picture(
    folder: Path, name: str | None, largest: int | None = None
) -> dict[str, Any] | None:
    """An image file as the address of itself, for a page; None where there is none.

    Args:
        folder: where the image lies.
        name: of the file, which ``read_gallery`` has found sound; or None.
        largest: stored again as lossy WebP, no wider than this; without it, the page
            holds the file's own bytes, so that a perturbation is what was measured.
    """
    if name is None:
        return None
    content = (folder / name).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        kind, small = (image.format or "png").lower(), image.width < SMALL
        if largest:
            scale = min(1.0, largest / image.width)
            size = [max(1, round(scale * length)) for length in image.size]
            buffer = io.BytesIO()
            smaller = image.convert("RGB").resize(tuple(size))
            smaller.save(buffer, "WEBP", quality=88, method=4)
            content, kind = buffer.getvalue(), "webp"
    text = base64.b64encode(content).decode("ascii")
    return {"src": f"data:image/{kind};base64,{text}", "small": small}


def _is_sound(path: Path, digest: Any) -> bool:
    """Whether a picture is as it was written; without a digest, whether it is one."""
    try:
        content = path.read_bytes()
        if digest is not None:
            return hashlib.sha256(content).hexdigest() == digest
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # whatever damaged bytes lead the decoder to
        return False
    return True
