"""Reads galleries: what is damaged is left out and named."""

import hashlib
import io
from pathlib import Path
from typing import Any

from PIL import Image

from cgat_jax.errors import DamagedFileError
from cgat_jax.files.io import read_sealed
from cgat_jax.report.checks import is_query

_PICTURES = ("clean", "adversarial", "difference")


def read_gallery(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The queries of a gallery, and a line for each thing in it that is damaged.

    Pictures are looked for in the folder alone, wherever their names lead; the name of
    one that is missing or not as it was written becomes None.
    """
    file = folder / "gallery.json"
    try:
        content = read_sealed(file) if file.is_file() else {"queries": []}
    except DamagedFileError:
        return [], [f"{file.name}: damaged, its queries are left out"]
    found, digests = content.get("queries"), content.get("pictures") or {}
    if not isinstance(found, list) or not isinstance(digests, dict):
        return [], [f"{file.name}: damaged, its queries are left out"]
    queries = [query for query in found if is_query(query)]
    problems = []
    if len(queries) < len(found):
        number = len(found) - len(queries)
        problems.append(f"{file.name}: {number} damaged queries are left out")
    return [_checked(query, folder, digests, problems) for query in queries], problems


def is_whole(query: dict[str, Any]) -> bool:
    """Whether all pictures of a query are there, but for the difference."""
    names = [query["clean"], query["adversarial"]]
    names += [hit["image"] for when in ("before", "after") for hit in query[when]]
    return None not in names


def _checked(query, folder: Path, digests, problems: list[str]) -> dict[str, Any]:
    """A query with the names of sound pictures only; the others become problems."""

    def sound(name: str | None) -> str | None:
        if name is None:
            return None
        name = Path(name).name
        if _is_sound(folder / name, digests.get(name)):
            return name
        problems.append(f"{name}: picture missing or damaged, left out")
        return None

    pictures = {kind: sound(query.get(kind)) for kind in _PICTURES}
    answers = {
        when: [hit | {"image": sound(hit.get("image"))} for hit in query[when]]
        for when in ("before", "after")
    }
    return query | pictures | answers


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
