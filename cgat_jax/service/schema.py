"""What the machine-readable description says of requests that are read by hand."""

from typing import Any

from cgat_jax.service.answers import Problem

_TEXT = {"type": "string"}
_PHOTO = {"type": "string", "format": "binary", "description": "a file with a photo"}
_SHARED = {
    "index": _TEXT | {"description": "its name, where several are served"},
    "k": {"type": "integer", "default": 10},
    "label": _TEXT | {"description": "class that answers must have"},
    "alarm": {"type": "integer", "description": "1: say whether a photo is unusual"},
}
_CODE = {
    "code": {"type": "array", "items": {"enum": [-1, 1]}},
    "network_sha256": _TEXT | {"description": "of the network that made the code"},
    "query": {"type": "integer", "description": "number of a query, without a code"},
}


def _body(**kinds: dict[str, Any]) -> dict[str, Any]:
    content = {
        f"{kind.replace('__', '/').replace('_', '-')}": {
            "schema": {"type": "object", "properties": properties}
        }
        for kind, properties in kinds.items()
    }
    return {"requestBody": {"required": True, "content": content}}


SEARCH_BODY = _body(
    multipart__form_data={"image": _PHOTO, **_SHARED},
    application__json=_CODE | _SHARED,
)
ADD_BODY = _body(
    multipart__form_data={
        "image": _PHOTO,
        "id": _TEXT,
        "labels": {"type": "array", "items": _TEXT},
        "index": _SHARED["index"],
    }
)
ATTACK_BODY = _body(
    multipart__form_data={
        "image": _PHOTO,
        "query": {"type": "integer", "description": "number of a query, or an image"},
        "attack": _TEXT,
        "levels": {"type": "integer", "description": "budget, 0 to 16 of 255 levels"},
        "k": _SHARED["k"],
    }
)
_WHY = {
    401: "the token is missing",
    404: "there is none",
    408: "it did not arrive in time",
    413: "it is too large",
    415: "it is of another type",
    422: "it cannot be used",
    429: "there are too many",
    503: "the index cannot be read, written or searched",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": why} for status, why in _WHY.items()
}
