"""What a clip's labels mean, and how they are learned and scored: one class per task, and one line in ``TASKS``.

:class:`Task` says what each of them has. Reading a data set needs a task and no torch, so torch and scikit-learn are imported where a task
computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from astune.errors import ConfigError, unknown_choice
from astune.task import Reduction, Scores, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from astune.data.clip import Clip

__all__ = [
    "MULTI_LABEL",
    "SINGLE_LABEL",
    "TASKS",
    "MultiLabel",
    "Reduction",
    "Scores",
    "SingleLabel",
    "Task",
    "task_named",
]


class SingleLabel(Task):
    """Each clip has one label: softmax and cross-entropy, scored by accuracy (the paper's tasks)."""

    name = "single-label"
    headline = "accuracy"
    shares: ClassVar[dict[str, str]] = {
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "balanced_accuracy": "balanced accuracy",
    }
    later_shares: ClassVar[frozenset[str]] = frozenset({"balanced_accuracy"})
    by_class: ClassVar[str | None] = "recall"
    counts_clips = True

    @override
    def strata(self, clip: Clip) -> tuple[str, ...]:
        """The label of each clip."""
        return (clip.label,)

    @override
    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        """Class indices, (clips,), int64."""
        import torch

        index = {label: number for number, label in enumerate(labels)}
        return torch.tensor([index[clip.label] for clip in clips], dtype=torch.int64)

    @override
    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy; targets may be class indices, (batch,), or shares of the classes, (batch, classes)."""
        from torch.nn.functional import cross_entropy

        if class_weights is None:
            return cross_entropy(logits, targets, reduction=reduction)
        summed = cross_entropy(logits, targets, weight=class_weights, reduction="sum")
        return summed / len(logits) if reduction == "mean" else summed

    @override
    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        """Targets as one-hot rows."""
        from torch.nn.functional import one_hot

        return one_hot(targets, classes).float()

    @override
    def smoothed(self, shares: Tensor, factor: float) -> Tensor:
        """Smooth labels like torch's ``cross_entropy(label_smoothing=factor)``: evenly over the classes."""
        return shares * (1 - factor) + factor / shares.shape[-1]

    @override
    def activate(self, logits: Tensor) -> Tensor:
        """Scores by softmax, which add up to 1."""
        return logits.softmax(dim=-1)

    @override
    def score(self, logits: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None) -> Scores:
        """Accuracy, macro F1, balanced accuracy, loss, the recall of each class and the confusion matrix; there are no thresholds."""
        del thresholds
        from astune.class_scores import score_classes

        return score_classes(logits, targets)

    @override
    def left_out(self, scores: Mapping[str, Any], labels: Sequence[str], split: str) -> list[str]:
        """Describe classes that no clip has: they may be told from others well or badly."""
        recalls = scores.get("recall", ())  # which records of older versions have not
        absent = [label for label, recall in zip(labels, recalls, strict=False) if recall is None]
        return self.describe_without_clips(absent, labels, split)

    @override
    def describe_without_clips(
        self, absent: Sequence[str], labels: Sequence[str], split: str, where: str = ""
    ) -> list[str]:
        """No score says anything of such classes."""
        from astune.absent_classes import describe_absent, no_clip

        what = f"{no_clip(split)}{where}, and no score says anything of"
        return [describe_absent(absent, labels, what, "it", "them", "class")] if absent else []


class MultiLabel(Task):
    """Each clip has any number of labels, or none: a sigmoid and binary cross-entropy for each, scored by mean average precision."""

    name = "multi-label"
    headline = "map"
    shares: ClassVar[dict[str, str]] = {"map": "mAP", "micro_map": "micro mAP", "macro_f1": "macro F1"}
    by_class: ClassVar[str | None] = "average_precision"
    weight_bounds: ClassVar[tuple[float, float]] = (0.01, 100.0)

    @property
    @override
    def metrics(self) -> tuple[str, ...]:
        """Names of all figures, also of those that reports do not show."""
        return (*self.shares, "macro_auc", "micro_f1", "loss")

    @override
    def strata(self, clip: Clip) -> tuple[str, ...]:
        """All labels of each clip."""
        return clip.labels

    @override
    def encode(self, clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
        """Which labels each clip has, (clips, classes), float32, 0 or 1."""
        import torch

        index = {label: number for number, label in enumerate(labels)}
        targets = torch.zeros(len(clips), len(labels))
        for row, clip in zip(targets, clips, strict=True):
            row[[index[label] for label in clip.labels]] = 1.0
        return targets

    @override
    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy, a clip's being the mean over its labels; weights count for clips that have the label."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        each = binary_cross_entropy_with_logits(
            logits, targets.to(logits), reduction="none", pos_weight=class_weights
        ).mean(dim=-1)
        return each.mean() if reduction == "mean" else each.sum()

    @override
    def balanced_weights(self, counts: Sequence[int], clips: int) -> list[float]:
        """Clips without a label over clips with it, so that both count alike for it: what ``pos_weight`` of torch's loss is for.

        One clip of a label in a million would decide every step that has it, so the weights are cut to 100; and to 0.01, because a label
        that all clips have would have 0 and never be learned.
        """
        return [(clips - count) / count for count in counts]

    @override
    def activate(self, logits: Tensor) -> Tensor:
        """Scores by a sigmoid: they are independent and need not add up to 1."""
        return logits.sigmoid()

    @override
    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        """The targets themselves."""
        del classes
        return targets

    @override
    def smoothed(self, shares: Tensor, factor: float) -> Tensor:
        """Each label by itself has two answers, over which the part is spread evenly."""
        return shares * (1 - factor) + factor / 2

    @override
    def score(self, logits: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None) -> Scores:
        """Average precision, area under the ROC curve and F1 of each label, their means, and the loss."""
        from astune.label_scores import score_labels

        return score_labels(logits, targets, thresholds)

    @override
    def thresholds(self, logits: Tensor, targets: Tensor) -> tuple[float, ...]:
        """Thresholds at which each label has its best F1."""
        from astune.label_scores import best_thresholds

        return best_thresholds(logits, targets)

    @override
    def default_thresholds(self, classes: int) -> tuple[float, ...]:
        """A threshold of 0.5 for each label."""
        from astune.label_scores import HALF

        return (HALF,) * classes

    @override
    def left_out(self, scores: Mapping[str, Any], labels: Sequence[str], split: str) -> list[str]:
        """Describe labels that no clip has: nothing ranks high or low for them."""
        from astune.label_scores import labels_without_clips

        return self.describe_without_clips(labels_without_clips(scores, labels), labels, split)

    @override
    def describe_without_clips(
        self, absent: Sequence[str], labels: Sequence[str], split: str, where: str = ""
    ) -> list[str]:
        """The means over labels leave such labels out."""
        from astune.absent_classes import describe_absent, no_clip

        what = f"{no_clip(split)}{where}, and mAP, AUC and macro F1 leave"
        return [describe_absent(absent, labels, what, "it out", "them out")] if absent else []

    @override
    def describe_unchosen(self, validation: Mapping[str, Any] | None, labels: Sequence[str]) -> list[str]:
        """Labels that no validation clip has keep the threshold 0.5."""
        from astune.label_scores import describe_unchosen

        return describe_unchosen(validation, labels)

    @override
    def refuse_other_record(self, scores: Mapping[str, Any], classes: int) -> None:
        """Refuse lists with another number of labels."""
        from astune.label_scores import refuse_other_shape

        refuse_other_shape(scores, classes)


SINGLE_LABEL = SingleLabel()
MULTI_LABEL = MultiLabel()
TASKS: dict[str, Task] = {task.name: task for task in (SINGLE_LABEL, MULTI_LABEL)}


def task_named(name: str) -> Task:
    """Find a task by its name.

    Args:
        name: a key of ``TASKS``, such as ``single-label``.

    Returns:
        The task.

    Raises:
        ConfigError: no adapter has that name.
    """
    if name not in TASKS:
        raise ConfigError(unknown_choice("task", name, TASKS))
    return TASKS[name]
