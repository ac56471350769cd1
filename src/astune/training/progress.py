"""How far a run has come: the one thing that changes while it trains, and what a checkpoint holds of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict
from torch import Tensor

from astune.json_record import RECORD, Count, Seconds, number_in

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Progress:
    """How far a run has come."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, **RECORD)

    epoch: Count = 0
    """Epochs finished; the one under way has this index."""
    step: Count = 0
    """Steps taken in the epoch under way."""
    loss_sum: float = 0.0
    """Of the training loss over those steps' clips."""
    clips: Count = 0
    """Clips seen in those steps."""
    seconds: Seconds = 0.0
    """Training time so far, over all interruptions."""
    head_start: dict[str, Any] | None = None
    """How the head got its first weights, see :class:`astune.training.head_start.HeadStart`; None where they were drawn."""
    start: dict[str, int | float] | None = None
    """Figures of the validation clips before the first step, where the head started from a fit."""
    best_epoch: int | None = None
    """The epoch whose weights are the best so far; -1 where they are those of the start."""
    stopped: bool = False
    """Whether the run ends before its last epoch. A callback's ``on_epoch_end`` may set it too."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per finished epoch, as in metrics.jsonl."""
    best: dict[str, Tensor] | None = field(default=None, init=False, compare=False)
    """Weights of the best epoch, or of the start; in a file of their own."""

    @property
    def best_figures(self) -> dict[str, float] | None:
        """Of the validation clips, with the best weights so far; None where there are none."""
        if self.best_epoch is None:
            return None
        figures: dict[str, float] | None = (
            self.start if self.best_epoch < 0 else self.history[self.best_epoch].get("validation")
        )
        return figures

    @property
    def started(self) -> dict[str, Any] | None:
        """The head start with its figures, as results have it."""
        if self.head_start is None:
            return None
        return self.head_start | ({} if self.start is None else {"validation": self.start})

    @property
    def scored(self) -> list[dict[str, Any]]:
        """What was scored on validation clips, in order: the start where it was, and the epochs."""
        return [*([] if self.start is None else [{"validation": self.start}]), *self.history]

    def record(self) -> dict[str, Any]:
        """As JSON: all but the weights."""
        return {name: value for name, value in vars(self).items() if name != "best"}

    def add_step(self, loss: float, clips: int) -> None:
        """Count a step.

        Args:
            loss: summed over its clips.
            clips: of the step, over all processes.
        """
        self.loss_sum += loss
        self.clips += clips
        self.step += 1

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Begin the next epoch.

        Args:
            entry: what is known of the one that ended.
        """
        self.history.append(entry)
        self.epoch, self.step, self.loss_sum, self.clips = self.epoch + 1, 0, 0.0, 0

    def refuse_impossible(self, steps_per_epoch: int, figures: Sequence[str]) -> None:
        """Look whether a run can be there.

        Args:
            steps_per_epoch: of the run.
            figures: of the validation clips that the run goes by.

        Raises:
            ValueError: it cannot.
        """
        first = 0 if self.start is None else -1
        if len(self.history) != self.epoch or (
            self.best_epoch is not None and not first <= self.best_epoch < self.epoch
        ):
            raise ValueError(f"it has {len(self.history)} of {self.epoch} epochs, the best being {self.best_epoch}")
        if not (0 <= self.step < steps_per_epoch and self.clips >= self.step):
            raise ValueError(
                f"it stands at step {self.step} of an epoch of {steps_per_epoch}, after {self.clips} clips"
            )
        if self.best_epoch is not None and self.best_figures is None:
            raise ValueError(f"its best epoch, {self.best_epoch}, has no figures of validation clips")
        for number, entry in enumerate(self.scored):
            for name in figures if "validation" in entry else ():
                number_in(entry["validation"], name, f"history.{number}.validation")
