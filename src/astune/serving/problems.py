"""What the service refuses or cannot do, with an honest status code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astune.errors import AdapterError, AudioError, ConfigError, NumericalError, OutputError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astune.errors import AstuneError

CODES = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 408: "too_slow",
    409: "conflict", 413: "too_large", 415: "unsupported_media_type", 422: "unprocessable", 429: "queue_full", 431: "too_large",
    499: "client_gone", 500: "internal_error", 501: "not_implemented", 503: "unavailable", 507: "not_written",
}  # fmt: skip
"""The word for each status, which programs may rely on."""


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """An answer that is an error.

    Args:
        status: status of HTTP.
        message: what is wrong and what to do, for people.
        headers: to be sent with it.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, printable(message, lines=True), dict(headers or {})

    @property
    def record(self) -> dict[str, Any]:
        """Return the record that is written as JSON."""
        return {"code": CODES.get(self.status, "error"), "message": self.message}

    @property
    def body(self) -> dict[str, Any]:
        """The whole answer."""
        return {"error": self.record}


def problem_of(fault: AstuneError) -> Problem:
    """Which answer an error of ours is.

    Args:
        fault: the error.

    Returns:
        The answer.
    """
    if isinstance(fault, NumericalError):
        return Problem(500, str(fault))
    if isinstance(fault, OutputError):
        return Problem(507, str(fault))
    return Problem(422 if isinstance(fault, AudioError | AdapterError | ConfigError) else 500, str(fault))
