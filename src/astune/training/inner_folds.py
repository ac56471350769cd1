"""Folds of the training clips, which choose the strength of a logistic regression where there is no validation split."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from astune.data.hold_out import group_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from astune.data.clip import Clip

Folds: TypeAlias = "list[tuple[NDArray[np.int64], NDArray[np.int64]]]"
"""Places of the clips that train and of those that are held out, fold by fold."""
_FOLDS = 3


def groups_of(clips: Sequence[Clip], numbers: Sequence[int]) -> list[str] | None:
    """What each clip belongs to, as :func:`inner_folds` takes it.

    Args:
        clips: of the data set.
        numbers: indices of the clips that are divided.

    Returns:
        A name for each; None where every clip is by itself.
    """
    groups = [name for _, name in group_keys(clips, numbers).values()]
    alone = len(set(groups)) == len(numbers) and all(clips[number].group is None for number in numbers)
    return None if alone else groups


def inner_folds(targets: NDArray[np.int64] | NDArray[np.float32], groups: Sequence[str] | None) -> Folds:
    """Divide training clips.

    Args:
        targets: (clips,), class indices; or (clips, classes), 0 or 1, where a clip may have several labels.
        groups: of each clip; None where nothing tells which belong together.

    Returns:
        Of each fold the clips that train and those that are held out, no group on both sides, and every class among those that train;
        none where that cannot be.
    """
    several = targets.ndim > 1
    rarest = int(targets.sum(axis=0).min() if several else np.bincount(targets).min())
    if rarest < _FOLDS or len(targets) < _FOLDS:
        return []
    if groups is None and not several:
        return list(StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(targets, targets))
    if groups is not None and len(set(groups)) < _FOLDS:
        return []
    if groups is None:
        folds = KFold(_FOLDS, shuffle=True, random_state=0).split(targets)
    elif several:
        folds = GroupKFold(_FOLDS, shuffle=True, random_state=0).split(targets, groups=groups)
    else:
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0).split(targets, targets, groups)
    kept = [(fit, held) for fit, held in folds if len(held) and _has_all(targets[fit], targets)]
    return kept if len(kept) > 1 else []


def _has_all(some: NDArray[np.int64] | NDArray[np.float32], targets: NDArray[np.int64] | NDArray[np.float32]) -> bool:
    """Whether every class has a clip among some."""
    return bool(some.any(axis=0).all()) if targets.ndim > 1 else set(some.tolist()) == set(targets.tolist())
