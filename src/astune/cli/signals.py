"""Ctrl-C and SIGTERM end a command in the same way: it clears up, says what was kept, and exits with 128 and the signal's number."""

from __future__ import annotations

import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_TOGETHER = 5.0  # seconds: launchers and terminals send several signals to stop a process once
_LOOK = 1.0  # seconds until somebody looks whether a command is still at it
_CAN_LOOK = hasattr(signal, "setitimer")  # Windows cannot


class Stopped(KeyboardInterrupt):
    """Ctrl-C."""


class Terminated(Stopped):
    """SIGTERM, which schedulers and shutdowns send."""


def catch_signals() -> None:
    """Let SIGTERM raise :class:`Terminated` from here on, and Ctrl-C :class:`Stopped`, each once in five seconds.

    A second signal would end the clearing up that the first one began. Signals that whoever started the process has switched off stay so,
    and threads have none.

    An exception that a signal raises can be lost: it may come while an object is deleted, or within a library's ``except:``. So it is
    raised again where it is gone and nobody has called :func:`end_signals`.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler, usual_hook = _Handler(), sys.unraisablehook

    def tell(lost: sys.UnraisableHookArgs) -> None:
        if not (_CAN_LOOK and isinstance(lost.exc_value, Stopped)):
            usual_hook(lost)

    sys.unraisablehook = tell
    for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is usual:
            signal.signal(number, handler)


def end_signals() -> None:
    """A command that was stopped has cleared up: nothing is raised again."""
    if _CAN_LOOK:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Handler:
    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self._last is None or now - self._last > _TOGETHER:
            self._last = now
            self._raise(Terminated if number == signal.SIGTERM else Stopped)

    def _raise(self, kind: type[Stopped]) -> None:
        def look(number: int, frame: FrameType | None) -> None:
            del number, frame
            if raised() is None:
                self._raise(kind)

        stop = kind()
        raised = weakref.ref(stop)
        if _CAN_LOOK:
            signal.signal(signal.SIGALRM, look)
            signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
        try:
            raise stop
        finally:
            del stop  # else this frame, which the exception has, would keep it


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
