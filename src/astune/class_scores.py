"""Scores of a classifier on clips that have one label each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, f1_score
from torch.nn import functional as F

from astune.confusion import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ClassScores:
    """Of one split."""

    clips: int
    accuracy: float
    """Share of clips whose highest logit is their class; 0 to 1."""
    macro_f1: float
    """Mean over the classes that occur or are predicted; 0 to 1."""
    loss: float
    """Mean cross-entropy, in nats."""
    confusion: list[list[int]]
    """Clips by true class (row) and predicted class (column)."""

    def figures(self) -> dict[str, float]:
        """All but the confusion matrix."""
        return {"clips": self.clips, "accuracy": self.accuracy, "macro_f1": self.macro_f1, "loss": self.loss}

    def record(self) -> dict[str, Any]:
        """As JSON; the confusion matrix as :mod:`astune.confusion` writes it."""
        return {**self.figures(), "confusion": recorded(self.confusion)}


def score_classes(logits: torch.Tensor, targets: torch.Tensor | Sequence[int]) -> ClassScores:
    """Score logits.

    Args:
        logits: (clips, classes).
        targets: class index of each clip, (clips,).

    Returns:
        The scores.

    Raises:
        ValueError: there are no clips.
    """
    if not len(targets):
        raise ValueError("there is no clip to score")
    truth = torch.as_tensor(targets)
    predicted = logits.argmax(dim=-1)
    classes = np.arange(logits.shape[-1])
    return ClassScores(
        clips=len(truth),
        accuracy=float((predicted == truth).double().mean()),
        macro_f1=float(f1_score(truth.numpy(), predicted.numpy(), average="macro", zero_division=0)),
        loss=float(F.cross_entropy(logits.double(), truth)),
        confusion=confusion_matrix(truth.numpy(), predicted.numpy(), labels=classes).tolist(),
    )
