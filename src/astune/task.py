"""What a task is: everything that differs between kinds of labels.

How labels become targets, the loss, what turns logits into scores, the figures that are reported and the one that decides, and by what
clips are divided when some are held out or drawn. The rest of the project asks the task of the data set, of the adapter or of the run.
The tasks themselves are in :mod:`astune.tasks`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from astune.data.clip import Clip

Reduction = Literal["mean", "sum"]


class Scores(Protocol):
    """Scores of one split."""

    @property
    def clips(self) -> int:
        """Number of clips that were scored."""

    def figures(self) -> dict[str, float]:
        """Numbers by name: ``clips``, ``loss`` and those of :attr:`Task.shares`."""

    def record(self) -> dict[str, Any]:
        """The scores as JSON: the figures and what else is kept, such as a confusion matrix."""


class Task(ABC):
    """The kind of labels that is learned of each clip."""

    name: ClassVar[str]
    """Name of the task in adapters and results."""
    headline: ClassVar[str]
    """The figure that chooses the epoch and is shown in reports."""
    shares: ClassVar[dict[str, str]]
    """Figures from 0 to 1 with the heading each has in tables, the headline first."""
    later_shares: ClassVar[frozenset[str]] = frozenset()
    """Those of the shares that records of older versions do not have."""
    by_class: ClassVar[str | None] = None
    """Name of the per-class figure that summaries show, from 0 to 1, with underscores for spaces; it is None for a class without clips."""
    weight_bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    """Lowest and highest of the weights that balance classes; others are cut to these."""
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
        """Encode the labels of clips as targets.

        Args:
            clips: any, with labels that are among ``labels``.
            labels: labels of the classes, in the order of the logits.

        Returns:
            (clips, ...), as :meth:`loss` and :meth:`score` take them.
        """

    @abstractmethod
    def loss(
        self, logits: Tensor, targets: Tensor, reduction: Reduction = "mean", class_weights: Tensor | None = None
    ) -> Tensor:
        """Compute the loss that training minimises.

        Args:
            logits: (batch, classes), float32.
            targets: the result of :meth:`encode` or :meth:`shares_of`.
            reduction: over the batch; the mean divides by the clips, and not by their weights.
            class_weights: (classes,), how much each class counts; all alike where None.

        Returns:
            A scalar, in nats.
        """

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the figures that can choose the epoch, the headline first."""
        return (*self.shares, "loss")

    def balanced_weights(self, counts: Sequence[int], clips: int) -> list[float]:
        """Weights for :meth:`loss` with which all classes count alike: scikit-learn's ``balanced``, n / (k * n_c).

        Args:
            counts: training clips of each class, (classes,), none of them 0.
            clips: all training clips.

        Returns:
            (classes,), before they are cut to :attr:`weight_bounds`. Where a clip has one label, their mean over the clips is 1.
        """
        return [clips / (len(counts) * count) for count in counts]

    @abstractmethod
    def shares_of(self, targets: Tensor, classes: int) -> Tensor:
        """Targets that can be mixed and smoothed.

        Args:
            targets: (batch, ...), as :meth:`encode` gives them.
            classes: number of classes.

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
        """Score logits against targets.

        Args:
            logits: (clips, classes).
            targets: (clips, ...), as :meth:`encode` gives them.
            thresholds: thresholds of the classes, as :meth:`thresholds` gives them; 0.5 for all where None.

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
        """Thresholds of an adapter that has no validation clips.

        Args:
            classes: number of classes.

        Returns:
            The same as :meth:`thresholds`.
        """
        del classes
        return None

    def left_out(self, scores: Mapping[str, Any], labels: Sequence[str], split: str) -> list[str]:
        """Describe classes that have no part in the scores.

        Args:
            scores: a record.
            labels: labels of the classes.
            split: the split that was scored.

        Returns:
            Sentences; none where there is nothing to say.
        """
        del scores, labels, split
        return []

    def describe_without_clips(
        self, absent: Sequence[str], labels: Sequence[str], split: str, where: str = ""
    ) -> list[str]:
        """Describe classes of which a split has no clip, as :meth:`left_out` does.

        Args:
            absent: the classes.
            labels: labels of all classes.
            split: the split.
            where: what follows the words for such clips, as ``" where fold 1 tests"``.

        Returns:
            Sentences; none where there is nothing to say.
        """
        del absent, labels, split, where
        return []

    def describe_unchosen(self, validation: Mapping[str, Any] | None, labels: Sequence[str]) -> list[str]:
        """Describe thresholds that no clip could choose.

        Args:
            validation: a record of the validation clips' scores; None if there are none.
            labels: labels of the classes.

        Returns:
            Sentences; none where there is nothing to say.
        """
        del validation, labels
        return []

    def refuse_other_record(self, scores: Mapping[str, Any], classes: int) -> None:
        """Look whether a record of scores is as :meth:`score` writes it.

        Args:
            scores: a record, as a file has it.
            classes: classes of its run.

        Raises:
            ValueError: something is missing, or it is of another number of classes.
        """
        from astune.confusion import refuse_other_shape

        if self.counts_clips:
            refuse_other_shape(scores.get("confusion", []), classes)

    def compact(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """The scores of a split without matrices and figures of single classes, but for :attr:`by_class`.

        Args:
            scores: as :meth:`Scores.record` gives them.

        Returns:
            The figures that an adapter keeps.
        """
        return {n: value for n, value in scores.items() if n == self.by_class or not isinstance(value, list | dict)}

    def better(self, figures: Mapping[str, float], than: Mapping[str, float] | None, metric: str | None = None) -> bool:
        """Whether one epoch's weights are kept rather than another's: by a figure, and where that is equal by loss.

        The earlier epoch wins a tie.

        Args:
            figures: figures of the later epoch, on validation clips.
            than: the figures of the best epoch so far; None if there is none.
            metric: name of the figure, such as ``loss``; the headline where None.
        """
        if than is None:
            return True
        gain = self.gain(figures, than, metric)
        return gain > 0 or (gain == 0 and figures["loss"] < than["loss"])

    def gain(self, figures: Mapping[str, float], than: Mapping[str, float], metric: str | None = None) -> float:
        """How much better one epoch's weights are than another's, by a figure alone.

        Args:
            figures: figures of the later epoch, on validation clips.
            than: the figures of the earlier one.
            metric: name of the figure, such as ``loss``; the headline where None.

        Returns:
            Above 0 where they are better; of a loss, by how much it is lower.
        """
        name = metric or self.headline
        return (than[name] - figures[name]) if name == "loss" else (figures[name] - than[name])
