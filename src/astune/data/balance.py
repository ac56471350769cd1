"""Whether one class has most of the clips, so that accuracy alone says little."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astune.data.dataset import AudioDataset

_WAYS_OUT = (
    "; class_weights=balanced or sampler=balanced makes all classes count alike, and metric_for_best_model=macro_f1 keeps the best epoch "
    "by that score"
)
# Always answering one class is right as often as that class comes: from three of four clips on, that looks like learning. With many
# classes half of the clips do, where that is three times an even share or more.
_MOST, _HALF, _TIMES_EVEN = 0.75, 0.5, 3


def majority_note(counts: Mapping[str, int]) -> str | None:
    """A sentence on the class that has most of the training clips, if one has.

    Args:
        counts: training clips by class; classes without any count too.

    Returns:
        What always answering it would be worth; nothing where no class has 75 % of the clips, or 50 % and three times an even share.
    """
    clips = sum(counts.values())
    if len(counts) < 2 or not clips:
        return None
    label = max(counts, key=counts.__getitem__)
    share = counts[label] / clips
    if share < _MOST and (share < _HALF or share < _TIMES_EVEN / len(counts)):
        return None
    return (
        f"{share:.0%} of the training clips ({counts[label]:,} of {clips:,}) are of one class, '{printable(label)}': always answering it "
        f"would already be right for {share:.0%} of such clips. Read macro F1 beside accuracy"
    )


def balance_notices(dataset: AudioDataset, train: Sequence[int] | None = None, *, balanced: bool = False) -> list[str]:
    """What is announced of the balance of training clips.

    Args:
        dataset: has the clips.
        train: indices of the training clips; by default all but validation and test clips.
        balanced: whether the run makes up for it, so that it needs no advice.

    Returns:
        One line, or none; none where clips have several labels, because no one answer is then right.
    """
    if not dataset.task.counts_clips:
        return []
    if train is None:
        train = [number for number, clip in enumerate(dataset.clips) if clip.split in {None, "train"}]
    found = Counter(label for clip in train for label in dataset.task.strata(dataset.clips[clip]))
    note = majority_note({label: found[label] for label in dataset.labels})
    return [f"Note: {note}{'' if balanced else _WAYS_OUT}"] if note else []
