"""Scores of a classifier on clips that have one label each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, f1_score
from torch.nn import functional as F

from astune.confusion import to_record

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ClassScores:
    """Scores of one split."""

    clips: int
    accuracy: float
    """Share of clips whose highest logit is their class; 0 to 1."""
    macro_f1: float
    """Mean over the classes that occur or are predicted; 0 to 1."""
    balanced_accuracy: float
    """Mean recall of the classes that occur; 0 to 1. Always answering one of k classes gives 1 / k, however many clips it has."""
    loss: float
    """Mean cross-entropy, in nats."""
    recall: list[float | None]
    """Recall of each class, 0 to 1; None for a class that no clip has."""
    confusion: list[list[int]]
    """Clips by true class (row) and predicted class (column)."""

    def figures(self) -> dict[str, float]:
        """The scores that are single numbers, by name."""
        return {
            "clips": self.clips,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
        }

    def record(self) -> dict[str, Any]:
        """The scores as JSON; the confusion matrix as :mod:`astune.confusion` writes it."""
        return {**self.figures(), "recall": self.recall, "confusion": to_record(self.confusion)}


def score_classes(logits: torch.Tensor, targets: torch.Tensor | Sequence[int]) -> ClassScores:
    """Score the logits of one split.

    Args:
        logits: (clips, classes).
        targets: class index of each clip, (clips,).

    Returns:
        The scores.

    Raises:
        ValueError: there are no clips.
    """
    if not len(targets):
        raise ValueError("no clips are given to score")
    truth = torch.as_tensor(targets)
    predicted = logits.argmax(dim=-1)
    confusion = confusion_matrix(truth.numpy(), predicted.numpy(), labels=np.arange(logits.shape[-1]))
    clips = confusion.sum(axis=1)
    # scikit-learn's balanced_accuracy_score is this mean, but warns where a class is predicted that no clip has
    found = [float(right / of) if of else None for right, of in zip(confusion.diagonal(), clips, strict=True)]
    return ClassScores(
        clips=len(truth),
        accuracy=float((predicted == truth).double().mean()),
        macro_f1=float(f1_score(truth.numpy(), predicted.numpy(), average="macro", zero_division=0)),
        balanced_accuracy=float(np.mean([one for one in found if one is not None])),
        loss=float(F.cross_entropy(logits.double(), truth)),
        recall=found,
        confusion=confusion.tolist(),
    )
