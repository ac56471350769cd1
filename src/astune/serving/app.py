"""The service as a web application (ASGI): routes, answers and errors."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from astune import __version__
from astune.errors import AstuneError
from astune.serving.batching import QueueFull
from astune.serving.problems import Problem, problem_of
from astune.serving.questions import Question
from astune.serving.service import Service
from astune.serving.settings import ServeSettings
from astune.serving.uploads import received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

PAGE = Path(__file__).with_name("page")


def create_app(settings: ServeSettings | None = None, /, **fields: Any) -> FastAPI:
    """The service, for a server such as uvicorn.

    Args:
        settings: of the service.
        fields: of :class:`ServeSettings`, in its place.

    Returns:
        The application; its adapters are loaded when the server starts it.

    Raises:
        ConfigError: settings that cannot be used.
    """
    settings = settings or ServeSettings(**fields)
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(title="astune", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    _add_errors(app)

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ready" if service.ready else "starting"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/adapters")
    async def adapters() -> JSONResponse:
        return JSONResponse(service.adapters.record())

    @app.post("/v1/classify")
    async def classify(request: Request) -> JSONResponse:
        with service.batcher.places() as places:
            async with received(request, settings, 1) as form:
                question = _question(form.fields)
                with service.adapters.use(question.adapter) as used:
                    return JSONResponse(
                        await unless_gone(request, service.classify(form.files[0], question, used, places))
                    )

    app.mount("/", StaticFiles(directory=PAGE, html=True, check_dir=False))
    return app


def _question(fields: dict[str, list[str]]) -> Question:
    several = {"adapter", "threshold", "low"}
    return Question(**{name: tuple(values) if name in several else values[-1] for name, values in fields.items()})


async def unless_gone(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """Do something for a client, for as long as it is there."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem(499, "the client is gone")
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_errors(app: FastAPI) -> None:
    def answer(problem: Problem) -> JSONResponse:
        return JSONResponse(problem.body, problem.status, problem.headers)

    @app.exception_handler(Problem)
    async def problem(_: Request, fault: Problem) -> JSONResponse:
        return answer(fault)

    @app.exception_handler(AstuneError)
    async def ours(_: Request, fault: AstuneError) -> JSONResponse:
        return answer(problem_of(fault))

    @app.exception_handler(QueueFull)
    async def full(_: Request, fault: QueueFull) -> JSONResponse:
        return answer(Problem(429, "the queue is full; try again later", {"Retry-After": str(fault.retry_after)}))

    @app.exception_handler(HTTPException)
    async def web(_: Request, fault: HTTPException) -> JSONResponse:
        return answer(Problem(fault.status_code, str(fault.detail), fault.headers))

    del problem, ours, full, web
