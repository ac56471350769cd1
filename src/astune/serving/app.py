"""The service as a web application (ASGI): routes, and what becomes of errors."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from typing_extensions import override

from astune import __version__
from astune.errors import AstuneError, ConfigError
from astune.serving.answers import AdapterList, AdapterRecord, Batch, Classified, Health, errors
from astune.serving.batching import QueueFull
from astune.serving.forms import ADAPTER_FORM, BATCH_FORM, CLASSIFY_FORM, fields_of
from astune.serving.front import REASON, Front
from astune.serving.problems import Problem, problem_of
from astune.serving.service import Service
from astune.serving.settings import ServeSettings
from astune.serving.uploads import receive_form, refuse_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from starlette.types import Receive, Scope, Send

    from astune.serving.adapters_dir import AdaptersDir

PAGE = Path(__file__).with_name("page")
_ABOUT = (
    "Labels, windows and events of audio recordings, by many adapters over one Audio Spectrogram Transformer. Send a recording as a form: "
    "`curl -F file=@garden.wav -F adapter=birds http://127.0.0.1:8000/v1/classify`."
)
_REFUSALS = (400, 404, 408, 413, 415, 422, 429, 500, 503)
_UNCHANGED = (401, 403, 404, 409, 422, 500, 507)
Name = Annotated[str, InPath(description="Name of the adapter.", examples=["birds"])]


def create_app(settings: ServeSettings | None = None, /, **fields: Any) -> FastAPI:
    """The service, for a server such as uvicorn. One process has one: the adapters are in its memory.

    Args:
        settings: settings of the service.
        fields: those of :class:`ServeSettings`, in its place.

    Returns:
        The application. Its adapters are loaded when the server starts it.

    Raises:
        ConfigError: settings that cannot be used, or that name no adapters.
    """
    settings = settings or ServeSettings(**fields)
    if not settings.adapters and settings.adapters_dir is None:
        raise ConfigError("nothing to serve; set adapters, or adapters_dir to a folder of adapters")
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="astune", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )  # fmt: skip
    app.state.service = service
    _add_errors(app)
    _add_state(app, service)
    _add_classify(app, service)
    _add_adapters(app, service)
    app.router.default = _Page(directory=PAGE, html=True)  # after all routes, so that a wrong method is 405 and not 404
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origin, allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization"], expose_headers=["Retry-After"],
        )  # fmt: skip
    app.add_middleware(Front, metrics=service.metrics)
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get(
        "/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "It is not ready."}},
        tags=["state"],
    )
    async def health() -> JSONResponse:
        """Whether the service can answer requests: status 200, or 503 while it starts, stops or is stuck."""
        found = service.health()
        return JSONResponse(found, 200 if found["status"] == "ready" else 503)

    @app.get("/health/live", response_model=Health, tags=["state"])
    async def live() -> JSONResponse:
        """Whether the process answers at all: always status 200."""
        return JSONResponse(service.health())

    text = {"text/plain": {"schema": {"type": "string"}}}

    @app.get("/metrics", response_class=Response, responses={200: {"content": text}}, tags=["state"])
    async def metrics() -> Response:
        """Counters in the format of Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_classify(app: FastAPI, service: Service) -> None:
    settings = service.settings

    async def answer(request: Request, max_files: int) -> JSONResponse:
        if request.query_params:
            raise Problem(422, "send fields in the form, not in the address")
        async with service.slots() as slots, receive_form(request, settings, max_files, service.arrivals) as form:
            fields = fields_of(form.fields)
            adapters = service.adapters.find(fields.adapter)
            asked = list(zip(adapters, fields.of([one.info for one in adapters]), strict=True))
            service.batcher.take(slots, len(form.files) * len(asked))
            several = max_files > 1
            work = (
                service.classify_all(form.files, asked, slots)
                if several
                else service.classify(form.files[0], asked, slots)
            )
            return JSONResponse(await _unless_gone(request, work, service))

    @app.post(
        "/v1/classify",
        response_model=Classified,
        responses=errors(*_REFUSALS),
        openapi_extra=CLASSIFY_FORM,
        tags=["classify"],
    )
    async def classify(request: Request) -> JSONResponse:
        """Label a recording, its windows, or find events in it, by one or several adapters."""
        return await answer(request, 1)

    @app.post(
        "/v1/classify/batch",
        response_model=Batch,
        responses=errors(*_REFUSALS),
        openapi_extra=BATCH_FORM,
        tags=["classify"],
    )
    async def classify_batch(request: Request) -> JSONResponse:
        """Label several recordings. A recording that cannot be read gets an error instead of results."""
        return await answer(request, settings.max_files)


def _add_adapters(app: FastAPI, service: Service) -> None:
    @app.get("/v1/adapters", response_model=AdapterList, tags=["adapters"])
    async def adapters() -> JSONResponse:
        """List the adapters that are served, and those that could not be loaded."""
        return JSONResponse(service.adapters.record())

    @app.put(
        "/v1/adapters/{name}", response_model=AdapterRecord, openapi_extra=ADAPTER_FORM, tags=["adapters"],
        responses=errors(400, 408, 413, 415, *_UNCHANGED),
    )  # fmt: skip
    async def put_adapter(request: Request, name: Name) -> JSONResponse:
        """Add or replace an adapter. The service loads and tests the new one first; until then it serves the old one."""
        folder = _folder(request, service)
        async with receive_form(request, service.settings, 3) as form:
            refuse_fields(form)
            await folder.put(name, form.files)
        served = service.adapters.find([name])[0]
        return JSONResponse(served.record())

    @app.delete("/v1/adapters/{name}", status_code=204, responses=errors(*_UNCHANGED), tags=["adapters"])
    async def delete_adapter(request: Request, name: Name) -> Response:
        """Delete an adapter from the folder. Requests that use it are still answered."""
        await _folder(request, service).delete(name)
        return Response(status_code=204)


def _folder(request: Request, service: Service) -> AdaptersDir:
    """The folder of adapters, for those who may change it.

    Raises:
        Problem: this client may not, or nobody.
    """
    token = service.settings.token
    if token is None:
        raise Problem(
            403, "adapters cannot be changed: the service was started without a token; set ASTUNE_TOKEN or token="
        )
    if not _has_token(request.headers.getlist("authorization"), token.get_secret_value()):
        raise Problem(401, "send the service's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    if service.folder is None:
        raise Problem(403, "adapters cannot be changed: the service has no folder of adapters; set adapters_dir=")
    return service.folder


def _has_token(given: list[str], token: str) -> bool:
    """Whether a client sent the token once and nothing else: with two headers, it is unclear which one a proxy has checked."""
    kind, _, sent = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    # Starlette reads headers as Latin-1, and clients send UTF-8: bytes are compared, in a time that does not tell how many are right.
    known = hmac.compare_digest(sent.strip().encode("latin-1"), token.encode("utf-8", "surrogateescape"))
    return kind.lower() == "bearer" and known


class _Page(StaticFiles):
    """The files of the page."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a file whole: it is small, and Starlette refuses malformed ranges in plain text.

        Args:
            scope: the scope of the request.
            receive: its messages.
            send: takes those of the answer.
        """
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        """The answer for a file.

        Args:
            path: path of the file.
            scope: the scope of the request.

        Returns:
            The answer.

        Raises:
            HTTPException: the file does not exist.
        """
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(404)
        return await super().get_response(path, scope)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Any], service: Service) -> Any:  # noqa: ANN401 - what work gives
    """Do something for a client for as long as it is there.

    Raises:
        Problem: the client went away.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        service.metrics.gone.inc()
        raise Problem(499, "the client disconnected")
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_errors(app: FastAPI) -> None:
    def answer(request: Request, problem: Problem) -> JSONResponse:
        headers = dict(problem.headers)
        request.scope[REASON] = problem.message
        if "expect" in request.headers:  # whether its body comes now, nobody knows
            headers["Connection"] = "close"
        return JSONResponse(problem.body, problem.status, headers)

    async def ours(request: Request, fault: Exception) -> JSONResponse:
        if isinstance(fault, Problem):
            return answer(request, fault)
        if isinstance(fault, QueueFull):
            full = f"the queue is full; try again in {fault.retry_after} s"
            return answer(request, Problem(429, full, {"Retry-After": str(fault.retry_after)}))
        if isinstance(fault, AstuneError):
            return answer(request, problem_of(fault))
        assert isinstance(fault, HTTPException)  # noqa: S101 - for type checkers: there is no other
        return answer(request, Problem(fault.status_code, _sentence(fault), fault.headers))

    for kind in (Problem, QueueFull, AstuneError, HTTPException):
        app.add_exception_handler(kind, ours)


def _sentence(fault: HTTPException) -> str:
    taken = (fault.headers or {}).get("Allow")
    return {
        404: "unknown address; GET /openapi.json lists all addresses",
        405: f"this address does not accept this method; use {taken}"
        if taken
        else "this address does not accept this method",
    }.get(fault.status_code, fault.detail)
