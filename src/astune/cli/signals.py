"""Ctrl-C and SIGTERM end a command in the same way: it clears up, says what was kept, and exits with 128 and the signal's number."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_TOGETHER = 5.0  # seconds: launchers and terminals send several signals to stop a process once


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers and shutdowns send."""


def catch_signals() -> None:
    """Let SIGTERM raise :class:`Terminated` from here on, and Ctrl-C ``KeyboardInterrupt``, each once in five seconds.

    A second signal would end the clearing up that the first one began. Signals that whoever started the process has switched off stay so,
    and threads have none.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler = _Handler()
    for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is usual:
            signal.signal(number, handler)


class _Handler:
    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self._last is None or now - self._last > _TOGETHER:
            self._last = now
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """Exit code of a command that was stopped.

    Args:
        stop: what ended it.

    Returns:
        143 where SIGTERM is among its causes, else 130.
    """
    cause: BaseException | None = stop
    while cause is not None:
        if isinstance(cause, Terminated):
            return 128 + signal.SIGTERM
        cause = cause.__cause__
    return 128 + signal.SIGINT
