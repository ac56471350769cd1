"""Processes that work for another one and end with it."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from threading import Thread


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
