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
    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        """What training lowers.

        Args:
            logits: (batch, classes), float32.
            targets: as :meth:`encode` or :meth:`shares_of` gives them.
            reduction: over the batch; the mean divides by the clips, and not by their weights.
            class_weights: (classes,), how much each class counts; all alike where None.

        Returns:
            A scalar, in nats.
        """

    @abstractmethod
    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        """Targets that can be mixed and smoothed.

        Args:
            targets: (batch, ...), as :meth:`encode` gives them.
            classes: how many there are.

        Returns:
            How much each clip has of each class, (batch, classes), float32, from 0 to 1.
        """

    @abstractmethod
    def smoothed(self, shares: Tensor, factor: float) -> Tensor:
        """Label smoothing: a part of each target is spread over all answers.

        Args:
            shares: (batch, classes), as :meth:`shares_of` gives them.
            factor: the part, from 0 to 1.

        Returns:
            (batch, classes).
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
    def score(self, logits: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None) -> Scores:
        """How good logits are.

        Args:
            logits: (clips, classes).
            targets: (clips, ...), as :meth:`encode` gives them.
            thresholds: of the classes, as :meth:`thresholds` gives them; 0.5 for all where None.

        Returns:
            The scores.

        Raises:
            ValueError: there are no clips.
        """

    def thresholds(self, logits: Tensor, targets: Tensor) -> tuple[float, ...] | None:
        """The scores from which on each class counts, chosen on clips that test nothing.

        Args:
            logits: (clips, classes), of validation clips.
            targets: (clips, ...), as :meth:`encode` gives them.

        Returns:
            (classes,), from 0 to 1; None where the classes compete and the highest score is the answer.
        """
        del logits, targets
        return None

    def default_thresholds(self, classes: int) -> tuple[float, ...] | None:
        """Those of an adapter that has no validation clips.

        Args:
            classes: how many there are.

        Returns:
            As :meth:`thresholds`.
        """
        del classes
        return None

    def left_out(self, scores: Mapping[str, Any], labels: Sequence[str], split: str) -> list[str]:
        """What to say of classes that have no part in the scores.

        Args:
            scores: a record.
            labels: of the classes.
            split: that was scored.

        Returns:
            Sentences; none where there is nothing to say.
        """
        del scores, labels, split
        return []

    def unchosen(self, validation: Mapping[str, Any] | None, labels: Sequence[str]) -> list[str]:
        """What to say of thresholds that no clip could choose.

        Args:
            validation: a record of the validation clips' scores; None where there are none.
            labels: of the classes.

        Returns:
            Sentences; none where there is nothing to say.
        """
        del validation, labels
        return []

    def refuse_other_record(self, scores: Mapping[str, Any], classes: int) -> None:
        """Look whether a record of scores is as :meth:`score` writes it.

        Args:
            scores: a record, as a file has it.
            classes: of its run.

        Raises:
            KeyError: something is missing.
            ValueError: it is of another number of classes.
        """
        from astune.confusion import refuse_other_shape

        if self.counts_clips:
            refuse_other_shape(scores["confusion"], classes)

    def better(self, figures: Mapping[str, float], than: Mapping[str, float] | None, metric: str | None = None) -> bool:
        """Whether one epoch's weights are kept rather than another's: by a figure, and where that is equal by loss.

        The earlier epoch wins a tie.

        Args:
            figures: of the later epoch, on validation clips.
            than: of the best so far; None where there is none.
            metric: name of the figure, such as ``loss``; the headline where None.
        """
        name = metric or self.headline
        sign = -1 if name == "loss" else 1
        return than is None or (sign * figures[name], -figures["loss"]) > (sign * than[name], -than["loss"])


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

    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy; targets may be class indices, (batch,), or shares of the classes, (batch, classes)."""
        from torch.nn.functional import cross_entropy

        if class_weights is None:
            return cross_entropy(logits, targets, reduction=reduction)
        summed = cross_entropy(logits, targets, weight=class_weights, reduction="sum")
        return summed / len(logits) if reduction == "mean" else summed

    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        """One-hot rows."""
        from torch.nn.functional import one_hot

        return one_hot(targets, classes).float()

    def smoothed(self, shares: Tensor, factor: float) -> Tensor:
        """As torch's ``cross_entropy(label_smoothing=factor)``: spread evenly over the classes."""
        return shares * (1 - factor) + factor / shares.shape[-1]

    def activate(self, logits: Tensor) -> Tensor:
        """Softmax."""
        return logits.softmax(dim=-1)

    def score(self, logits: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None) -> Scores:
        """Accuracy, macro F1, loss and the confusion matrix; there are no thresholds."""
        del thresholds
        from astune.class_scores import score_classes

        return score_classes(logits, targets)


class MultiLabel(Task):
    """Each clip has any number of labels, or none: a sigmoid and binary cross-entropy for each, scored by mean average precision."""

    name = "multi-label"
    headline = "map"
    shares: ClassVar[dict[str, str]] = {"map": "mAP", "micro_map": "micro mAP", "macro_f1": "macro F1"}

    def strata(self, clip: Clip) -> tuple[str, ...]:
        """All its labels."""
        return clip.labels

    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        """Which labels each clip has, (clips, classes), float32, 0 or 1."""
        import torch

        index = {label: number for number, label in enumerate(labels)}
        targets = torch.zeros(len(clips), len(labels))
        for row, clip in zip(targets, clips, strict=True):
            row[[index[label] for label in clip.labels]] = 1.0
        return targets

    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy, a clip's being the mean over its labels; weights count for clips that have the label."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        each = binary_cross_entropy_with_logits(
            logits, targets.to(logits), reduction="none", pos_weight=class_weights
        ).mean(dim=-1)
        return each.mean() if reduction == "mean" else each.sum()

    def activate(self, logits: Tensor) -> Tensor:
        """Sigmoid: scores are independent and need not add up to 1."""
        return logits.sigmoid()

    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        """The targets themselves."""
        del classes
        return targets

    def smoothed(self, shares: Tensor, factor: float) -> Tensor:
        """Each label by itself has two answers, over which the part is spread evenly."""
        return shares * (1 - factor) + factor / 2

    def score(self, logits: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None) -> Scores:
        """Average precision, area under the ROC curve and F1 of each label, their means, and the loss."""
        from astune.label_scores import score_labels

        return score_labels(logits, targets, thresholds)

    def thresholds(self, logits: Tensor, targets: Tensor) -> tuple[float, ...]:
        """Where each label has its best F1."""
        from astune.label_scores import best_thresholds

        return best_thresholds(logits, targets)

    def default_thresholds(self, classes: int) -> tuple[float, ...]:
        """A half for each."""
        from astune.label_scores import HALF

        return (HALF,) * classes

    def left_out(self, scores: Mapping[str, Any], labels: Sequence[str], split: str) -> list[str]:
        """Labels that no clip has: nothing ranks high or low for them."""
        from astune.label_scores import left_out

        return left_out(scores, labels, split)

    def unchosen(self, validation: Mapping[str, Any] | None, labels: Sequence[str]) -> list[str]:
        """Labels that no validation clip has keep the threshold 0.5."""
        from astune.label_scores import unchosen

        return unchosen(validation, labels)

    def refuse_other_record(self, scores: Mapping[str, Any], classes: int) -> None:
        """Its lists are of so many labels."""
        from astune.label_scores import refuse_other_shape

        refuse_other_shape(scores, classes)


SINGLE_LABEL = SingleLabel()
MULTI_LABEL = MultiLabel()
TASKS: dict[str, Task] = {task.name: task for task in (SINGLE_LABEL, MULTI_LABEL)}


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
