"""The pages: search and attack, the description of the interface, and logging in."""

import functools
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, TypeVar

import jinja2
import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from cgat_jax.service.attacking import MOST_LEVELS, Attacks
from cgat_jax.service.collection import Collection, pixels_of
from cgat_jax.service.guard import CLIENT, COOKIE
from cgat_jax.service.limits import Access, Places, Refused
from cgat_jax.service.metrics import Metrics
from cgat_jax.service.schema import ATTACK_BODY, PROBLEMS
from cgat_jax.service.streams import Streams, Tell
from cgat_jax.service.uploads import Asked, form_of, read_request

T = TypeVar("T")
KEPT = {"Cache-Control": "private, max-age=3600"}
_KINDS = {"js": "text/javascript", "css": "text/css"}
_SHOWN_K, _MOST_K = 10, 50
_AT_ONCE = 4  # attacks that run or wait


def add_pages(
    app: FastAPI,
    indexes: Collection,
    access: Access,
    attacks: Attacks | None,
    metrics: Metrics,
) -> None:
    """Adds their addresses; ``attacks`` of the page, or none."""
    _add_static(app)
    _add_login(app, access)
    if attacks is not None:
        places = Places(_AT_ONCE, indexes.limits.of_one(_AT_ONCE))
        _add_attacks(app, indexes, attacks, Streams(places, metrics.attacks))

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> str:
        return render(
            "index.html",
            indexes=[served.state() for served in indexes.served.values()],
            queries=indexes.queries(),
            choices=attacks.choices() if attacks else {},
            most_levels=MOST_LEVELS,
            k=_SHOWN_K,
            megabytes=indexes.limits.upload_bytes / 10**6,
        )

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def documents() -> str:
        return render("docs.html", description=app.openapi())


def _add_attacks(
    app: FastAPI, indexes: Collection, attacks: Attacks, streams: Streams
) -> None:
    @app.post(
        "/attack",
        response_class=StreamingResponse,
        responses=PROBLEMS,
        openapi_extra=ATTACK_BODY,
    )
    async def attack(request: Request) -> StreamingResponse:
        """Attacks a photo or a query on each network; lines of JSON as it goes on."""
        asked = await read_request(request, indexes.limits)
        choice, k = asked.text("attack"), asked.number("k", _SHOWN_K, _MOST_K)
        levels = asked.number("levels", 8, MOST_LEVELS, low=0)
        if choice not in attacks.choices():
            known = ", ".join(attacks.choices())
            raise Refused(422, f"attack: expected one of {known}")
        crops, labels = await given(asked, indexes, attacks.crops)

        def run(tell: Tell) -> None:
            steps = attacks.steps(choice)

            def told(step: int) -> None:
                tell({"step": step, "of": steps})

            for result in attacks.run(
                crops, labels, choice, levels=levels, k=k, told=told
            ):
                tell({"result": result})

        return streams.answer(run, "POST /attack", request.scope[CLIENT])


async def given(
    asked: Asked, indexes: Collection, use: Callable[[np.ndarray], T]
) -> tuple[T, Sequence[str]]:
    """What a function makes of the photo or the picked query of a request.

    Returns:
        That, and the query's classes, if they are known.
    """
    if "query" in asked.fields:
        query = indexes.query(asked.number("query", 0, 2**31))
        return await run_in_threadpool(lambda: use(pixels_of(query))), query.labels
    return await indexes.decode(asked.photo, use), ()


def _add_static(app: FastAPI) -> None:
    shared = resources.files("cgat_jax.report").joinpath("style.html").read_text()
    folder = resources.files("cgat_jax.service").joinpath("static")
    files = {file.name: file.read_text() for file in folder.iterdir()}
    files["page.css"] = shared + files["page.css"]

    @app.get("/static/{name}", response_class=Response, include_in_schema=False)
    def static(name: str) -> Response:
        if name not in files:
            raise Refused(404, "Not Found")
        kind = _KINDS[name.rpartition(".")[2]]
        return Response(files[name], media_type=f"{kind}; charset=utf-8")


def _add_login(app: FastAPI, access: Access) -> None:
    """A cookie for browsers, which is good for reading alone."""

    @app.get("/login", response_class=HTMLResponse, include_in_schema=False)
    def form() -> str:
        return render("login.html", wrong=False)

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        async with form_of(request, max_files=0, max_fields=1) as fields:
            token = str(fields.get("token", ""))
        if not access.is_token(token):
            return HTMLResponse(render("login.html", wrong=True), 401)
        response = Response(status_code=303, headers={"Location": "/"})
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response


def render(template: str, **values: Any) -> str:
    """A page; text is escaped."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("cgat_jax", "service/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
