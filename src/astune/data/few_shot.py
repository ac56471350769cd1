"""Few-shot training: K clips a class out of the training split; validation and test stay whole (paper, section IV, few-shot).

Where clips have several labels, the K clips of a label are drawn as if it were alone, and a clip that is drawn for one label counts for its
others too. So a label may have more than K; K clips without a label are drawn as well, or all where there are fewer.

A draw belongs to (seed, clip name) and to nothing else: it is the same on every machine, and the clips of K = 1 are among those of K = 2,
so that what more clips add is not confounded with other clips. The published code takes the first K files as the folder lists them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from astune.errors import ConfigError, DataError
from astune.keyed import keyed_generator

if TYPE_CHECKING:
    from astune.data.dataset import AudioDataset, Split


def few_shot(dataset: AudioDataset, split: Split, shots: int, seed: int) -> Split:
    """Keep a few training clips a class.

    Args:
        dataset: the clips.
        split: the split of them; its validation and test are left as they are.
        shots: training clips a class, from 1.
        seed: another one draws other clips.

    Returns:
        The split with less training.

    Raises:
        ConfigError: fewer than one shot.
        DataError: a class has fewer training clips than that.
    """
    if shots < 1:
        raise ConfigError(f"shots={shots}: it takes one training clip a class or more")
    members: dict[str, list[int]] = {label: [] for label in dataset.labels}
    unlabelled = []
    for clip in split.train:
        strata = dataset.task.strata(dataset.clips[clip])
        for label in strata:
            members[label].append(clip)
        unlabelled += [] if strata else [clip]
    scarce = [f"{label} ({len(clips)})" for label, clips in members.items() if len(clips) < shots]
    if scarce:
        more = f" and {len(scarce) - 5} more classes" if len(scarce) > 5 else ""
        raise DataError(
            f"{dataset.source} has fewer than {shots} training clips of {', '.join(scarce[:5])}{more}; "
            f"at most {min(map(len, members.values()))} a class can be drawn"
        )
    names = {clip: dataset.clips[clip].name for clip in split.train}
    ranks = {clip: (keyed_generator(seed, "few-shot", name).random(), name) for clip, name in names.items()}
    kept = {clip for clips in (*members.values(), unlabelled) for clip in sorted(clips, key=ranks.__getitem__)[:shots]}
    return replace(split, train=tuple(clip for clip in split.train if clip in kept))
