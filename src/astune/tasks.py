"""What a clip's labels mean, and how they are learned and scored: one class per task, and one line in ``TASKS``.

Everything that differs between tasks is here: how labels become targets, the loss, what turns logits into scores, the figures that are
reported and the one that decides, and by what clips are divided when some are held out or drawn. The rest of the project asks the task of
the data set, of the adapter or of the run.

Reading a data set needs a task and no torch, so torch and scikit-learn are imported where a task computes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from astune.errors import ConfigError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from astune.data.clip import Clip

Reduction = Literal["mean", "sum"]


class Scores(Protocol):
    """Of one split."""

    @property
    def clips(self) -> int:
        """How many were scored."""

    def figures(self) -> dict[str, float]:
        """Numbers by name: ``clips``, ``loss`` and those of :attr:`Task.shares`."""

    def record(self) -> dict[str, Any]:
        """As JSON: the figures and what else is kept, such as a confusion matrix."""


class Task(ABC):
    """What is learned of each clip."""

    name: ClassVar[str]
    """In adapters and results."""
    headline: ClassVar[str]
    """The figure that chooses the epoch and stands in reports."""
    shares: ClassVar[dict[str, str]]
    """Figures from 0 to 1 with the heading each has in tables, the headline first."""
    counts_clips: ClassVar[bool] = False
    """Whether each clip has one answer, and the headline is the share of clips that get it right. Then scores have a confusion matrix,
    Wilson's interval holds, and a class that most clips have is worth a warning."""

    @abstractmethod
    def strata(self, clip: Clip) -> tuple[str, ...]:
        """The labels that a clip counts for when clips are held out, drawn or limited class by class.

        Args:
            clip: any.
        """

    @abstractmethod
    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        """Targets of clips.

        Args:
            clips: any, with labels that are among ``labels``.
            labels: of the classes, in the order of the logits.

        Returns:
            (clips, ...), as :meth:`loss` and :meth:`score` take them.
        """

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """What training lowers.

        Args:
            logits: (batch, classes), float32.
            targets: (batch, ...), as :meth:`encode` gives them.
            reduction: over the batch.

        Returns:
            A scalar, in nats.
        """

    @abstractmethod
    def activate(self, logits: Tensor) -> Tensor:
        """Scores of the labels, from 0 to 1.

        Args:
            logits: (..., classes).

        Returns:
            (..., classes).
        """

    @abstractmethod
    def score(self, logits: Tensor, targets: Tensor) -> Scores:
        """How good logits are.

        Args:
            logits: (clips, classes).
            targets: (clips, ...), as :meth:`encode` gives them.

        Returns:
            The scores.

        Raises:
            ValueError: there are no clips.
        """

    @abstractmethod
    def better(self, figures: Mapping[str, float], than: Mapping[str, float] | None) -> bool:
        """Whether one epoch's weights are kept rather than another's; the earlier one wins a tie.

        Args:
            figures: of the later epoch, on validation clips.
            than: of the best so far; None where there is none.
        """


class SingleLabel(Task):
    """Each clip has one label: softmax and cross-entropy, scored by accuracy (the paper's tasks)."""

    name = "single-label"
    headline = "accuracy"
    shares: ClassVar[dict[str, str]] = {"accuracy": "accuracy", "macro_f1": "macro F1"}
    counts_clips = True

    def strata(self, clip: Clip) -> tuple[str, ...]:
        """Its label."""
        return (clip.label,)

    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        """Class indices, (clips,), int64."""
        import torch

        index = {label: number for number, label in enumerate(labels)}
        return torch.tensor([index[clip.label] for clip in clips], dtype=torch.int64)

    def loss(self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Cross-entropy; targets may be class indices, (batch,), or shares of the classes, (batch, classes)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, targets, reduction=reduction)

    def activate(self, logits: Tensor) -> Tensor:
        """Softmax."""
        return logits.softmax(dim=-1)

    def score(self, logits: Tensor, targets: Tensor) -> Scores:
        """Accuracy, macro F1, loss and the confusion matrix."""
        from astune.class_scores import score_classes

        return score_classes(logits, targets)

    def better(self, figures: Mapping[str, float], than: Mapping[str, float] | None) -> bool:
        """By accuracy, and where that is equal by loss."""
        return than is None or (figures["accuracy"], -figures["loss"]) > (than["accuracy"], -than["loss"])


SINGLE_LABEL = SingleLabel()
TASKS: dict[str, Task] = {task.name: task for task in (SINGLE_LABEL,)}


def task_named(name: str) -> Task:
    """A task.

    Args:
        name: a key of ``TASKS``, such as ``single-label``.

    Returns:
        The task.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in TASKS:
        raise ConfigError(unknown("task", name, TASKS))
    return TASKS[name]
