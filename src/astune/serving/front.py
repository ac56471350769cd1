"""What every request passes: it is counted, refusals are logged, and answers get headers that keep browsers careful."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse

from astune.serving.log import log
from astune.serving.problems import CODES, Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from astune.serving.metrics import Metrics

CAREFUL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    # The player of the page plays the user's own file from a blob: URL.
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'",
}
"""Headers of every answer."""
REASON = "astune.reason"
"""Key of the scope that holds why a request was refused."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))
_SHOWN = 200  # letters of what a client asked for


def log_refused(
    method: str, path: str, status: int, seconds: float, client: tuple[str, int] | list[object] | None, reason: str
) -> None:
    """Log a request that was refused, or failed.

    Args:
        method: the method of the request; ``-`` where it could not be read, as its path.
        path: path of the request.
        status: status of the answer.
        seconds: seconds that it took.
        client: address and port.
        reason: the reason of the refusal.
    """
    words = (quote(str(one)[:_SHOWN], safe="/:.@-_~[]") for one in (method, path, client[0] if client else "-"))
    verb, address, sender = words
    log(f"{status} {verb} {address} {1000 * seconds:.0f} ms {sender} {CODES.get(status, 'error')}: {reason}")


_FAILED = Problem(500, "the service failed; its log shows why")
_STOPPED = Problem(503, "the service is stopping; try again when it has started")


class Front:
    """ASGI middleware that every request passes through.

    Args:
        app: the application that this one wraps.
        metrics: what is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Args:
            scope: the scope of the request.
            receive: gives its body.
            send: takes the answer.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, started = time.monotonic(), 500, False

        async def careful(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in CAREFUL.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        async def fail(problem: Problem) -> None:
            scope[REASON] = problem.message
            if not started:  # else the server cuts the answer off
                await JSONResponse(problem.body, problem.status)(scope, receive, careful)

        try:
            await self._app(scope, receive, careful)
        except asyncio.CancelledError:
            await fail(_STOPPED)
        except Exception as fault:  # noqa: BLE001 - what nobody foresaw is answered, and its traceback is for the log alone
            log(f"a request failed: {type(fault).__name__}", fault)
            await fail(_FAILED)
        finally:
            seconds = time.monotonic() - begun
            # Names of clients' own making are not counted one by one.
            route = getattr(scope.get("route"), "path", None) or ("page" if status < 400 else "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if status in {408, 413, 429, 503}:
                self._metrics.rejected.labels(
                    {408: "slow", 413: "large", 429: "queue", 503: "unavailable"}[status]
                ).inc()
            if status >= 400:
                log_refused(scope["method"], scope["path"], status, seconds, scope.get("client"), scope.get(REASON, ""))
