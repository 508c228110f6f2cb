"""The service's addresses."""

from typing import Annotated

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cgat_jax import __version__
from cgat_jax.search.engines import pack_bits
from cgat_jax.search.items import check_same_network
from cgat_jax.service import answers, pages
from cgat_jax.service.attacking import Attacks
from cgat_jax.service.collection import Collection
from cgat_jax.service.guard import Guard
from cgat_jax.service.limits import Access, Limits, Refused
from cgat_jax.service.metrics import Metrics
from cgat_jax.service.problems import TOLD, problem_of
from cgat_jax.service.schema import ADD_BODY, PROBLEMS, SEARCH_BODY
from cgat_jax.service.uploads import read_code, read_request

Number = Annotated[int, Path(ge=1, lt=2**63)]
IndexName = Annotated[str, Query(max_length=300)]
_USUAL_K = 10


def make_app(
    indexes: Collection,
    access: Access,
    limits: Limits,
    metrics: Metrics,
    attacks: Attacks | None = None,
) -> Guard:
    """The service as an ASGI application.

    Args:
        indexes: that it answers from.
        access: who may do what.
        limits: how much.
        metrics: that count it.
        attacks: of the page; without them it only searches.
    """
    app = FastAPI(title="cgat_jax", version=__version__, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    _add_errors(app)
    _add_search(app, indexes, limits)
    _add_writing(app, indexes, limits)
    _add_state(app, indexes, metrics)
    pages.add_pages(app, indexes, access, attacks, metrics)
    return Guard(app, access, limits, metrics)


def _add_search(app: FastAPI, indexes: Collection, limits: Limits) -> None:
    @app.post("/search", responses=PROBLEMS, openapi_extra=SEARCH_BODY)
    async def search(request: Request) -> answers.Found:
        """The nearest images of a photo, a code, or a query of the index."""
        asked = await read_request(request, limits)
        served = indexes.named(asked.text("index"))
        k = asked.number("k", _USUAL_K, limits.answers)
        label, wanted, crop = asked.text("label"), (), None
        if label:
            served.index.catalogue.label_number(label)
        if "code" in asked.fields:
            check_same_network(served.network, asked.text("network_sha256"))
            code = read_code(asked, served.network.bits)
            (packed,) = pack_bits(code, served.network.bits)
        else:
            crop, wanted = await pages.given(asked, indexes, served.crop)
            packed = await served.encode(crop)
        found = await served.search(packed, k, label, wanted)
        if crop is not None and asked.number("alarm", 0, 1, low=0):
            found.alarm = await served.judged(crop)
        return found


def _add_writing(app: FastAPI, indexes: Collection, limits: Limits) -> None:
    @app.post("/images", status_code=201, responses=PROBLEMS, openapi_extra=ADD_BODY)
    async def add(request: Request) -> answers.Added:
        """Adds a photo; once this has answered, it is on disk."""
        asked = await read_request(request, limits)
        served = indexes.named(asked.text("index"))
        id_, labels = asked.text("id"), asked.labels()
        if not id_:
            raise Refused(422, "id: expected what the image is to be called")
        crop, picture = await indexes.decode(asked.photo, served.kept)
        return await served.add(crop, picture, id_, labels)

    @app.delete("/images/{number}", status_code=204, responses=PROBLEMS)
    async def remove(number: Number, index: IndexName = "") -> Response:
        """Removes an image."""
        await indexes.named(index).remove(number)
        return Response(status_code=204)


def _add_state(app: FastAPI, indexes: Collection, metrics: Metrics) -> None:
    @app.get("/healthz")
    def health() -> answers.Health:
        """Whether the service answers, and with what."""
        states = [served.state() for served in indexes.served.values()]
        return answers.Health(status="ready", indexes=states)

    @app.get("/metrics", response_class=Response)
    def measured() -> Response:
        """Counters, as Prometheus reads them."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/images/{number}", response_class=Response, responses=PROBLEMS)
    def picture(number: Number, index: IndexName = "") -> Response:
        """The small picture of an image."""
        content = indexes.named(index).index.catalogue.picture(number)
        if content is None:
            raise Refused(404, f"no picture of number {number}")
        return Response(content, media_type="image/jpeg", headers=pages.KEPT)

    @app.get("/queries/{number}", response_class=Response, responses=PROBLEMS)
    def query(number: Number) -> Response:
        """A query that came with the index, as networks see it."""
        content = indexes.query(number).image
        return Response(content, media_type="image/png", headers=pages.KEPT)


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON with one line, see ``problem_of``."""

    async def told(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error, f"{request.method} {request.url.path}")
        return _problem(problem.status, problem.text, problem.headers)

    for kind in TOLD:
        app.add_exception_handler(kind, told)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _problem(422, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> JSONResponse:
        return _problem(500, "a mistake of the service; see its log")


def _problem(status: int, text: str, headers=None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers=dict(headers or {}))
