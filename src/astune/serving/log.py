"""What the service tells its operator, on stderr: one line for each event, with its time.

Text of clients is escaped before it comes here or in here, so that nobody writes a line of their own into the log.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from traceback import format_exception
from typing import TYPE_CHECKING

from typing_extensions import override

from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 1_000  # letters of a line
_LIBRARIES = ("uvicorn.error", "asyncio")
_FORMS = "python_multipart.multipart"  # logs each form that it cannot read, which the line of the refusal says
_MALFORMED = "Invalid HTTP request received."  # of uvicorn, which leaves out what our own line says


def log(message: str, fault: BaseException | None = None) -> None:
    """Write a line.

    Args:
        message: what happened.
        fault: an unexpected error; its traceback follows, line by line after ``|``.
    """
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = printable(message)
    lines = [f"{time} {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'}"]
    if fault is not None:
        trace = printable("".join(format_exception(fault)), lines=True).splitlines()
        lines += [f"  | {line[:_LONGEST]}" for line in trace]
    with suppress(
        OSError, ValueError, AttributeError
    ):  # nobody reads it, its disk is full, it is closed: requests go on
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


@contextmanager
def logging_of_libraries() -> Iterator[None]:
    """Have what asyncio and uvicorn log in the same form, for the time of a block."""
    handler: logging.Handler = _Lines()
    loggers = [(logging.getLogger(name), handler) for name in _LIBRARIES]
    loggers.append((logging.getLogger(_FORMS), logging.NullHandler()))
    for logger, own in loggers:
        logger.addHandler(own)
    try:
        yield
    finally:
        for logger, own in loggers:
            logger.removeHandler(own)


class _Lines(logging.Handler):
    @override
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message != _MALFORMED:
            log(f"{record.name}: {message}", record.exc_info[1] if record.exc_info else None)
