"""Changes to what all threads see, such as a model's mode: made by the first thread that asks, taken back after the last one."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from torch import nn

_lock = Lock()
_made: dict[Hashable, tuple[int, Callable[[], None]]] = {}  # how many use a change now, and what takes it back


@contextmanager
def shared_change(key: Hashable, make: Callable[[], Callable[[], None]]) -> Iterator[None]:
    """Change something for the time of a block, however many threads are in such blocks at a time.

    If each of them saved and restored the old state by itself, one would restore it while another still computes, and the last
    would restore what it found: the changed state.

    Args:
        key: names the change; blocks of one key share it.
        make: makes the change, and returns what takes it back.
    """
    with _lock:
        users, undo = _made[key] if key in _made else (0, make())
        _made[key] = (users + 1, undo)
    try:
        yield
    finally:
        with _lock:
            users, undo = _made.pop(key)
            if users > 1:
                _made[key] = (users - 1, undo)
            else:
                undo()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the time of a block; then each part of the model is in its own mode again.

    Args:
        model: any module.
    """

    def make() -> Callable[[], None]:
        trained = [module for module in model.modules() if module.training]
        if trained:
            model.eval()

        def undo() -> None:
            for module in trained:  # not all of them: the user may have set a part to evaluation mode
                module.training = True

        return undo

    with shared_change(("evaluation mode", id(model)), make):
        yield
