"""Scores of a classifier on clips that have any number of labels, and the thresholds from which on each label counts.

Ranking figures (average precision, area under the ROC curve) need no threshold. A threshold of a label is the one of its best F1 on
clips of the choice; those are validation clips. All figures are scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from astune.absent_classes import describe_absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

HALF = 0.5
"""Threshold of a label of which nothing is known."""
_BY_LABEL = ("clips_with_label", "average_precision", "auc", "f1", "thresholds")
_DECIMALS = 6  # of a threshold, where so many tell it from the scores around it


@dataclass(frozen=True)
class LabelScores:
    """Scores of one split. Means over labels are over those that some clip has; the others are left out."""

    clips: int
    map: float
    """Mean over the labels of their average precision; 0 to 1, and 0 where no clip has a label."""
    micro_map: float
    """Average precision of all pairs of clip and label together; 0 to 1."""
    macro_auc: float
    """Mean over the labels of the area under their ROC curve; 0 to 1, and 0 where no label has one."""
    macro_f1: float
    """Mean over the labels of their F1 at the thresholds; 0 to 1."""
    micro_f1: float
    """F1 of all pairs of clip and label together at the thresholds; 0 to 1."""
    loss: float
    """Mean binary cross-entropy, in nats."""
    clips_with_label: list[int]
    """How many clips have each label."""
    average_precision: list[float | None]
    """Average precision of each label; None for a label that no clip has."""
    auc: list[float | None]
    """Area under the ROC curve of each label; None for a label that no clip has, or that every clip has."""
    f1: list[float | None]
    """F1 of each label at its threshold; None for a label that no clip has."""
    thresholds: list[float]
    """Threshold of each label; a clip has the label if its score is at least this."""

    def figures(self) -> dict[str, float]:
        """The scores that are single numbers, by name."""
        return {
            "clips": self.clips, "map": self.map, "micro_map": self.micro_map, "macro_auc": self.macro_auc,
            "macro_f1": self.macro_f1, "micro_f1": self.micro_f1, "loss": self.loss,
        }  # fmt: skip

    def record(self) -> dict[str, Any]:
        """The scores as JSON."""
        return {**self.figures(), **{name: getattr(self, name) for name in _BY_LABEL}}


def score_labels(logits: torch.Tensor, targets: torch.Tensor, thresholds: Sequence[float] | None = None) -> LabelScores:
    """Score the logits of one split.

    Args:
        logits: (clips, classes).
        targets: (clips, classes), 1 where the clip has the label and 0 where not.
        thresholds: thresholds of the labels, on scores from 0 to 1, (classes,); 0.5 for all where None.

    Returns:
        The scores; means over labels are over those that some clip has.

    Raises:
        ValueError: there are no clips.
    """
    if not len(targets):
        raise ValueError("no clips are given to score")
    truth, ranks = targets.numpy().astype(np.int64), logits.double().numpy()
    cuts = [HALF] * truth.shape[1] if thresholds is None else [float(one) for one in thresholds]
    found = truth.sum(axis=0)
    said = (_scores_of(logits) >= np.array(cuts, np.float32)).astype(np.int64)
    known = np.flatnonzero(found).tolist()
    precision = {one: float(average_precision_score(truth[:, one], ranks[:, one])) for one in known}
    auc = {one: float(roc_auc_score(truth[:, one], ranks[:, one])) for one in known if found[one] < len(truth)}
    f1 = {one: float(f1_score(truth[:, one], said[:, one], zero_division=0)) for one in known}
    return LabelScores(
        clips=len(truth),
        map=_mean(precision.values()),
        micro_map=float(average_precision_score(truth.ravel(), ranks.ravel())) if len(known) else 0.0,
        macro_auc=_mean(auc.values()),
        macro_f1=_mean(f1.values()),
        micro_f1=float(f1_score(truth.ravel(), said.ravel(), zero_division=0)),
        loss=float(binary_cross_entropy_with_logits(logits.double(), targets.double())),
        clips_with_label=found.tolist(),
        average_precision=[precision.get(one) for one in range(truth.shape[1])],
        auc=[auc.get(one) for one in range(truth.shape[1])],
        f1=[f1.get(one) for one in range(truth.shape[1])],
        thresholds=cuts,
    )


def best_thresholds(logits: torch.Tensor, targets: torch.Tensor) -> tuple[float, ...]:
    """The threshold of each label at which it has its best F1 on these clips.

    F1 changes only where the threshold passes a score, so the threshold is the middle between the two scores around the best place. Of
    several places of the same F1, it is the one of the highest threshold, which finds fewest clips.

    Args:
        logits: (clips, classes).
        targets: (clips, classes), 1 where the clip has the label and 0 where not.

    Returns:
        (classes,), from 0 to 1; 0.5 for a label that no clip has.
    """
    truth, scores = targets.numpy().astype(np.int64), _scores_of(logits)
    return tuple(_best(scores[:, label], truth[:, label]) for label in range(truth.shape[1]))


def _best(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    wanted = int(truth.sum())
    if not wanted:
        return HALF
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(ordered[:-1] > ordered[1:], True))  # of runs of equal scores
    f1 = 2 * right[ends] / (ends + 1 + wanted)
    best = int(np.argmax(f1))
    upper = ordered[ends[best]]
    lower = ordered[ends[best] + 1] if best + 1 < len(ends) else np.float32(0)
    return _between(lower, upper)


def _between(lower: np.float32, upper: np.float32) -> float:
    """A number above the lower score and at most the upper one, also as float32, in which scores are compared with it."""
    middle = (float(lower) + float(upper)) / 2
    for number in (round(middle, _DECIMALS), float(np.float32(middle))):
        if lower < np.float32(number) <= upper:
            return number
    return float(upper)


def _scores_of(logits: torch.Tensor) -> NDArray[np.float32]:
    """Activate scores as the task does for a prediction, which compares the same numbers with a threshold."""
    scores: NDArray[np.float32] = logits.float().sigmoid().numpy()
    return scores


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else 0.0


def labels_without_clips(scores: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Find the labels that no clip of a split has.

    Args:
        scores: the result of :meth:`LabelScores.record`.
        labels: labels of the classes.

    Returns:
        In the order of the labels.
    """
    return [label for label, clips in zip(labels, scores["clips_with_label"], strict=True) if not clips]


def describe_unchosen(validation: Mapping[str, Any] | None, labels: Sequence[str]) -> list[str]:
    """Describe thresholds that no clip could choose.

    Args:
        validation: the result of :meth:`LabelScores.record`; None if there are no validation clips.
        labels: labels of the classes.

    Returns:
        A sentence; none where every label has validation clips.
    """
    if validation is None:
        return [f"Note: no validation clip chooses the thresholds; that of each label is {HALF:g}"]
    absent = labels_without_clips(validation, labels)
    what = "no validation clip that chooses"
    return (
        [
            describe_absent(
                absent, labels, what, f"its threshold, which is {HALF:g}", f"their thresholds, which are {HALF:g}"
            )
        ]
        if absent
        else []
    )


def refuse_other_shape(scores: Mapping[str, Any], classes: int) -> None:
    """Refuse a record that does not have figures of so many labels.

    Args:
        scores: scores read from a file.
        classes: classes of its run.

    Raises:
        ValueError: it has not.
    """
    for name in _BY_LABEL:
        values = scores.get(name)
        if not isinstance(values, list):
            raise ValueError(f"its {name} is not a list of numbers")
        if len(values) != classes:
            raise ValueError(f"its {name} is of {len(values)} labels, not {classes}")
        if not all(value is None or type(value) in {int, float} for value in values):
            raise ValueError(f"its {name} has something else than numbers")
        if not all(value is None or value >= 0 for value in values):
            raise ValueError(f"its {name} has a number below 0")
