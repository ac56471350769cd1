"""Callbacks that end a run as a power cut, an interrupt or a full disk would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from astune.training import checkpoint
from astune.training.callbacks import Callback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astune.training.engine import Engine
    from astune.training.progress import Progress


class PowerCut(Exception):  # noqa: N818 - stands for a power cut
    """Ends a run without a word."""


class StopAfter(Callback):
    """Ends a run right after the checkpoint of a step was written.

    Args:
        steps: since the beginning; the first checkpoint from there on counts.
        stop: raised.
    """

    def __init__(self, steps: int, stop: type[BaseException] = PowerCut) -> None:
        self.steps, self.stop = steps, stop

    @override
    def on_save(self, engine: Engine, progress: Progress) -> None:
        if engine.global_step(progress) >= self.steps:
            raise self.stop


class Call(Callback):
    """Calls a function after each step, one after each epoch, and one after each checkpoint.

    Args:
        step: takes the run's progress, after a step; nothing where None.
        epoch: takes it too, after an epoch; nothing where None.
        save: takes it too, after a checkpoint; nothing where None.
    """

    def __init__(
        self,
        step: Callable[[Progress], object] | None = None,
        epoch: Callable[[Progress], object] | None = None,
        save: Callable[[Progress], object] | None = None,
    ) -> None:
        self.step, self.epoch, self.save = step, epoch, save

    @override
    def on_step_end(self, engine: Engine, progress: Progress) -> None:
        del engine
        if self.step:
            self.step(progress)

    @override
    def on_epoch_end(self, engine: Engine, progress: Progress) -> None:
        del engine
        if self.epoch:
            self.epoch(progress)

    @override
    def on_save(self, engine: Engine, progress: Progress) -> None:
        del engine
        if self.save:
            self.save(progress)


def reached(folder: Path, step: int) -> bool:
    """Whether a run has a checkpoint of a step, or of a later one."""
    latest = checkpoint.latest(folder)
    return latest is not None and int(latest.name.removeprefix("checkpoint-")) >= step
