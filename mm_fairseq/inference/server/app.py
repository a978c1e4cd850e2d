"""The application: its routes, its page, and every refusal in one form."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path, PurePath

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .explanations import router as explanations
from .guard import Guard
from .limits import Limits, Refused
from .listing import listing
from .office import Office
from .predictions import VERSION
from .predictions import router as predictions
from .recordings import router as recordings
from .work import SharedModel

PAGE = "index.html"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ABOUT = """Emotions of clips: video, sound and words, any subset of them, as one trained model sees them.

Nothing that is sent is kept: files are gone when their request is answered. Requests beyond the limits are refused with
a status of 4xx or 503 and `{"error", "code"}`; `Retry-After` says when it helps to come again. The server has no
authentication, and pages of other sites may not ask it.
"""


def create_app(
    model: SharedModel, limits: Limits, folder: Path, local: bool = True, names: Collection[str] = ()
) -> FastAPI:
    """The application of one model.

    Args:
        model: that answers; closed with the application.
        limits: of the server.
        folder: private and empty, for files of requests under way.
        local: whether it is served on the loopback interface only.
        names: by which it is asked beside those of the loopback interface.
    """
    office = Office(model, limits, folder)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await office.close()

    app = FastAPI(
        title=f"mm-fairseq: {model.architecture}",
        version=VERSION,
        description=_ABOUT,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.office = office
    app.add_middleware(Guard, queue=limits.queue, local=local, names=names)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    for router in (predictions, explanations, recordings):
        app.include_router(router)
    app.add_api_route("/api", lambda: Response(listing(app.openapi()), media_type="text/html"), include_in_schema=False)
    for name, respond in _page().items():
        app.add_api_route("/" if name == PAGE else f"/page/{name}", respond, include_in_schema=False)
    return app


def _page() -> dict[str, Callable[[], Response]]:
    """File name to what gives it; they are read once."""
    found = {}
    for file in resources.files(__package__).joinpath("page").iterdir():
        if kind := _KINDS.get(PurePath(file.name).suffix):
            found[file.name] = _file(file.read_bytes(), kind)
    return found


def _file(content: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def problem(status: int, code: str, message: str, again: int | None = None) -> JSONResponse:
    """A refusal, as `schemas.Problem`."""
    headers = {} if again is None else {"Retry-After": str(again)}
    return JSONResponse({"error": message, "code": code}, status, headers)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem(error.status, error.code, error.message, error.again)


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = problem(error.status_code, "not_found" if error.status_code == 404 else "refused", str(error.detail))
    found.headers.update(error.headers or {})
    return found


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return problem(422, "bad_field", told)
