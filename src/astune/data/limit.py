"""A few clips of a data set, to try something out before it is run at length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from astune.data.splits import SPLITS
from astune.errors import ConfigError
from astune.keyed import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astune.data.dataset import AudioDataset, Split


def limit_dataset(dataset: AudioDataset, split: Split, clips: int, seed: int) -> tuple[AudioDataset, Split]:
    """Keep at most so many clips of each split, classes in turn.

    Args:
        dataset: the clips.
        split: of the clips.
        clips: of each split; at least one for each class, else some would never be trained on.
        seed: decides which clips are drawn.

    Returns:
        A data set of the clips that are left, with all its labels, and the split of them.

    Raises:
        ConfigError: fewer clips than classes.
    """
    if clips < len(dataset.labels):
        raise ConfigError(
            f"limit_clips={clips}: {dataset.source} has {len(dataset.labels)} classes; give {len(dataset.labels)} or more"
        )
    kept = {name: sorted(_first(dataset, split.named(name), clips, seed)) for name in SPLITS}
    used = sorted(clip for members in kept.values() for clip in members)
    new_index = {clip: number for number, clip in enumerate(used)}
    train, validation, test = (tuple(new_index[clip] for clip in kept[name]) for name in SPLITS)
    fewer = replace(dataset, clips=tuple(dataset.clips[clip] for clip in used))
    return fewer, replace(split, train=train, validation=validation, test=test)


def _first(dataset: AudioDataset, members: Sequence[int], clips: int, seed: int) -> list[int]:
    ranks = {clip: keyed_generator(seed, "limit", dataset.clips[clip].name).random() for clip in members}
    by_class: dict[str, list[int]] = {}
    unlabelled = []
    for clip in sorted(members, key=ranks.__getitem__):
        strata = dataset.task.strata(dataset.clips[clip])
        for label in strata:
            by_class.setdefault(label, []).append(clip)
        unlabelled += [] if strata else [clip]
    queues = [*by_class.values(), unlabelled]  # the last in each turn, so that every class has its clip
    return list(dict.fromkeys(_in_turn(queues)))[:clips]  # a clip of several labels comes once


def _in_turn(queues: list[list[int]]) -> Iterator[int]:
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))
