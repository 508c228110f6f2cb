"""What a search found as a page that needs no other file."""

import base64
import functools
from collections.abc import Mapping

import jinja2
import numpy as np

from cgat_jax.search.index import Index
from cgat_jax.search.items import SearchResult
from cgat_jax.search.pictures import small_picture

_SIDE = 240


def found_page(
    index: Index, photos: Mapping[str, np.ndarray], found: SearchResult
) -> str:
    """A page with each photo and what it found.

    Args:
        index: that was searched.
        photos: RGB uint8 [h, w, 3] by name, in the order of the queries.
        found: of these queries.
    """
    rows = []
    for row, (name, photo) in enumerate(photos.items()):
        columns = (
            found.distances[row].tolist(),
            found.ids[row],
            found.labels[row],
            [_data_url(index.catalogue.picture(n)) for n in found.numbers[row]],
        )
        query = name, _data_url(small_picture(photo, _SIDE))
        rows.append((*query, list(zip(*columns, strict=True))))
    return _template().render(rows=rows, network=repr(index.network), size=len(index))


def _data_url(content: bytes | None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(content or b'').decode()}"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cgat_jax", "search"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("found.html")
