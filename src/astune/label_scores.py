"""Scores of a classifier on clips that have any number of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LabelScores:
    """Of one split."""

    clips: int
    map: float
    """Mean over the labels of their average precision; 0 to 1."""
    micro_map: float
    """Average precision of all pairs of clip and label together; 0 to 1."""
    loss: float
    """Mean binary cross-entropy, in nats."""
    average_precision: list[float | None]
    """Of each label; None for a label that no clip has."""
    auc: list[float | None]
    """Area under the ROC curve of each label; None for a label that no clip has, or that every clip has."""

    def figures(self) -> dict[str, float]:
        """All that is one number."""
        return {"clips": self.clips, "map": self.map, "micro_map": self.micro_map, "loss": self.loss}

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.figures(), "average_precision": self.average_precision, "auc": self.auc}


def score_labels(logits: torch.Tensor, targets: torch.Tensor) -> LabelScores:
    """Score logits.

    Args:
        logits: (clips, classes).
        targets: (clips, classes), 1 where the clip has the label and 0 where not.

    Returns:
        The scores; means are over the labels that some clip has.

    Raises:
        ValueError: there are no clips.
    """
    if not len(targets):
        raise ValueError("there is no clip to score")
    truth, ranks = targets.numpy().astype(np.int64), logits.double().numpy()
    found = truth.sum(axis=0)
    precision = [
        float(average_precision_score(truth[:, label], ranks[:, label])) if found[label] else None
        for label in range(truth.shape[1])
    ]
    auc = [
        float(roc_auc_score(truth[:, label], ranks[:, label])) if 0 < found[label] < len(truth) else None
        for label in range(truth.shape[1])
    ]
    known = [value for value in precision if value is not None]
    return LabelScores(
        clips=len(truth),
        map=float(np.mean(known)) if known else 0.0,
        micro_map=float(average_precision_score(truth.ravel(), ranks.ravel())) if known else 0.0,
        loss=float(binary_cross_entropy_with_logits(logits.double(), targets.double())),
        average_precision=precision,
        auc=auc,
    )
