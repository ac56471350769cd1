"""Classes of which a split has no clip: with the splits or folds of the data, and the validation clips that training would hold out.

A sample: of four classes, one has a single clip. It trains, so no validation clip is of that class, and no score says anything of it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.absent_classes import first_of
from astune.data.splits import SPLITS, SplitName
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.dataset import AudioDataset, Split


@dataclass(frozen=True)
class WithoutClips:
    """The classes of which one split has no clip."""

    split: SplitName
    fold: int | None
    """The test fold; None where the data have no folds."""
    classes: list[str]
    """In the order of the labels; at least one."""


def classes_without(dataset: AudioDataset, clips: Sequence[int]) -> list[str]:
    """Find the classes that some clips have not.

    Args:
        dataset: the data.
        clips: indices of the clips.

    Returns:
        In the order of the labels.
    """
    found = {label for clip in clips for label in dataset.task.strata(dataset.clips[clip])}
    return [label for label in dataset.labels if label not in found]


def untrained(dataset: AudioDataset, split: Split) -> str | None:
    """Describe the classes without a training clip, which training refuses.

    Args:
        dataset: the data.
        split: of them.

    Returns:
        Such as ``2 classes have no training clip: robin, wren``; None where each class has one.
    """
    absent = classes_without(dataset, split.train)
    return _untrained(absent) if absent else None


def find_without_clips(dataset: AudioDataset) -> list[WithoutClips]:
    """Find the classes of which a split has no clip, as training would divide the data with its first seed; each fold tests once.

    Args:
        dataset: the data.

    Returns:
        One for each such split that has clips, and for each fold.
    """
    found = []
    for fold in dataset.folds or (None,):
        split = dataset.split(fold)
        for name in SPLITS:
            absent = classes_without(dataset, split.named(name)) if split.named(name) else []
            if absent:
                found.append(WithoutClips(name, fold, absent))
    return found


def without_clips_notices(dataset: AudioDataset, found: Sequence[WithoutClips]) -> list[str]:
    """Describe what :func:`find_without_clips` found, in the words of training.

    Args:
        dataset: the data.
        found: of them.

    Returns:
        A line for each kind of split.
    """
    lines: list[str] = []
    for name in SPLITS:
        folds: defaultdict[str, set[int | None]] = defaultdict(set)
        for one in found:
            if one.split == name:
                for label in one.classes:
                    folds[label].add(one.fold)
        if not folds:
            continue
        classes = [label for label in dataset.labels if label in folds]
        where = _where(dataset, list(folds.values()))
        if name == "train":
            lines.append(f"Warning: {_untrained(classes, f'{where}, and training refuses that')}")
        else:
            lines += dataset.task.describe_without_clips(classes, dataset.labels, name, where)
    return lines


def _untrained(absent: Sequence[str], more: str = "") -> str:
    have = "has" if len(absent) == 1 else "have"
    return f"{number_of(len(absent), 'class')} {have} no training clip{more}: {first_of(absent)}"


def _where(dataset: AudioDataset, folds: Sequence[set[int | None]]) -> str:
    """The test folds with such classes; nothing where there are no folds, or it is the same in all."""
    if all(len(some) == max(len(dataset.folds), 1) for some in folds):
        return ""
    which = sorted({fold for some in folds for fold in some if fold is not None})
    shown = ", ".join(map(str, which))
    if len(which) == 1:
        return f" where fold {shown} tests"
    return f" where one of the folds {shown} tests"
