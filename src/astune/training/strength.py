"""The strength of a regression's regularisation, chosen on validation clips, or else in folds of the training clips."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from astune.plurals import number_of
from astune.training.inner_folds import inner_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

Model = TypeVar("Model")
_OF_FEW_CLIPS = r"The number of unique classes is greater than 50%|Label (not )?.* is present in all training examples"


@contextmanager
def fitting() -> Iterator[None]:
    """Let scikit-learn fit without its warnings about few clips: the targets are classes, however many, and a label may be every clip's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _OF_FEW_CLIPS, UserWarning)
        yield


@dataclass(frozen=True)
class Features:
    """Clips as a regression sees them."""

    pooled: NDArray[np.float32]
    """(clips, d)."""
    targets: NDArray[Any]
    """(clips, ...), as the task encodes them."""
    visits: NDArray[np.float64] | None = None
    """How much each clip counts in a fit, (clips,); all alike where None."""

    def at(self, clips: NDArray[np.int64]) -> Features:
        """Select some of the clips.

        Args:
            clips: of the clips.
        """
        visits = None if self.visits is None else self.visits[clips]
        return Features(self.pooled[clips], self.targets[clips], visits)


@dataclass(frozen=True)
class Chosen(Generic[Model]):
    """A model of all training clips."""

    model: Model
    strength: float
    """Inverse regularisation, scikit-learn's C."""
    by: str
    """What chose it, in words."""


def choose_strength(
    train: Features,
    held: Features,
    groups: Sequence[str] | None,
    strengths: Sequence[float],
    fit: Callable[[Features, Sequence[float]], list[Model]],
    score: Callable[[Model, Features], float],
) -> Chosen[Model]:
    """Fit at the strength that does best.

    Args:
        train: training clips.
        held: validation clips; empty where there is no validation split.
        groups: of the training clips, as for :func:`astune.training.inner_folds.inner_folds`; used where there are no validation clips.
        strengths: inverse regularisations, the strongest first; where nothing can choose, the middle one counts.
        fit: a model of some clips for each strength.
        score: the figure of a model on clips that chooses, the higher the better.

    Returns:
        The model; of equally good strengths the first one's.
    """
    if len(held.targets):
        models = fit(train, strengths)
        best = int(np.argmax([score(model, held) for model in models]))
        return Chosen(models[best], strengths[best], number_of(len(held.targets), "validation clip"))
    folds = inner_folds(train.targets, groups)
    if not folds:
        strength, by = strengths[len(strengths) // 2], "nothing: there are too few training clips to hold some out"
    else:
        scores = [
            [score(model, train.at(held_out)) for model in fit(train.at(fitted), strengths)]
            for fitted, held_out in folds
        ]
        strength = strengths[int(np.argmax(np.mean(scores, axis=0)))]
        by = f"{len(folds)} folds of the training clips{'' if groups is None else ' by group'}"
    [model] = fit(train, (strength,))
    return Chosen(model, strength, by)
