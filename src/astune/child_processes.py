"""Processes that work for another one and end with it."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext


def fork_server(preloaded: str) -> ForkServerContext:
    """Starts processes that ignore Ctrl-C: a terminal sends it to all, and who started them ends them.

    Args:
        preloaded: module that is imported before the first of them is started.

    Returns:
        The context. Its server runs.
    """
    from multiprocessing import forkserver, resource_tracker  # which Windows does not have

    context = get_context("forkserver")
    context.set_forkserver_preload([preloaded])
    resource_tracker.ensure_running()  # first, because its start lets Ctrl-C through again
    # The server and its processes inherit this. The server ignores Ctrl-C while it imports, which its own handler would not bring about.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def end_with_parent() -> None:
    """End this process when the one that started it ends, however that ends. Nobody waits for it then, and it holds cores and locks.

    A thread waits for the end of a pipe that the parent holds, so it is at once on every system. What the process does meanwhile does not
    matter: a worker whose results nobody takes waits for ever for room in their pipe.
    """
    Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
