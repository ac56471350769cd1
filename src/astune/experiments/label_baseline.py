"""The baseline for clips with any number of labels: one logistic regression a label, on the same log-Mel statistics."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from astune.training.inner_folds import Folds


LEAST = 1e-12
"""Probability, so that the loss stays finite."""


@dataclass(frozen=True)
class LabelBaseline:
    """Fitted regressions."""

    model: Any
    """scikit-learn's pipeline."""
    strength: float
    """Inverse regularisation of all of them."""

    def logits(self, features: NDArray[np.float32]) -> torch.Tensor:
        """Log-odds.

        Args:
            features: (clips, 256).

        Returns:
            (clips, classes), float64.
        """
        return torch.logit(torch.from_numpy(np.asarray(self.model.predict_proba(features), np.float64)), eps=LEAST)


def fitted(features: NDArray[np.float32], targets: torch.Tensor, strength: float) -> LabelBaseline:
    """Fit one regression a label.

    Args:
        features: (clips, 256).
        targets: (clips, classes), 0 or 1; a label that all clips have, or none, is answered so for every clip.
        strength: inverse regularisation.

    Returns:
        The regressions.
    """
    regression = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=2000))
    model = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():  # scikit-learn's word for such a label
        warnings.filterwarnings("ignore", "Label .* is present in all training examples", UserWarning)
        warnings.filterwarnings("ignore", "Label not .* is present in all training examples", UserWarning)
        return LabelBaseline(model.fit(features, targets.numpy().astype(np.int64)), strength)


def chosen(
    features: NDArray[np.float32],
    targets: torch.Tensor,
    strengths: Sequence[float],
    score: Callable[[LabelBaseline, list[int]], float],
    train: list[int],
    validation: list[int],
    folds: Folds,
) -> LabelBaseline:
    """Fit with the strength whose headline figure is highest, on validation clips or in folds of the training clips.

    Args:
        features: (clips, 256), of all clips.
        targets: (clips, classes), likewise.
        strengths: inverse regularisations; where nothing can choose, the middle one.
        score: the headline figure of a model on clips.
        train: clips to fit on.
        validation: clips to choose by; none where folds choose.
        folds: of the training clips, by their place among them.

    Returns:
        The model of all training clips; of equal strengths the first one's.
    """

    def fit(clips: list[int], strength: float) -> LabelBaseline:
        return fitted(features[clips], targets[clips], strength)

    if validation:
        return max((fit(train, one) for one in strengths), key=lambda model: score(model, validation))
    if not folds:
        return fit(train, strengths[len(strengths) // 2])
    clips = np.asarray(train)

    def of_folds(strength: float) -> float:
        found = [score(fit(clips[rest].tolist(), strength), clips[held].tolist()) for rest, held in folds]
        return float(np.mean(found))

    return fit(train, max(strengths, key=of_folds))
