"""Labels of clips: where each first occurs, cleaned, and in the order of the classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from astune.data.clip import Clip


def first_clips(clips: Iterable[Clip]) -> dict[str, str]:
    """Find the first clip of each label.

    Args:
        clips: clips in their order.

    Returns:
        The name of that clip, by label.
    """
    first: dict[str, str] = {}
    for clip in clips:
        for label in clip.labels:
            first.setdefault(label, clip.name)
    return first


def order_labels(clips: Sequence[Clip], labels: Sequence[str]) -> list[Clip]:
    """Write the labels of each clip once, in the order of the classes. Clips of the same labels are then equal, however they were written.

    Args:
        clips: the clips.
        labels: labels in the order of class indices.

    Returns:
        The clips, in their order.
    """
    index_of = {label: number for number, label in enumerate(labels)}
    several = {
        clip.labels: tuple(sorted(set(clip.labels), key=index_of.__getitem__)) for clip in clips if len(clip.labels) > 1
    }
    return [
        clip if several.get(clip.labels, clip.labels) == clip.labels else replace(clip, labels=several[clip.labels])
        for clip in clips
    ]


def clean_clips(clips: Sequence[Clip], labels: Mapping[str, str], groups: Mapping[str, str]) -> list[Clip]:
    """Replace labels and groups by their cleaned spelling.

    Args:
        clips: the clips.
        labels: each label's cleaned spelling.
        groups: each group's cleaned spelling.

    Returns:
        The clips, in their order. Those that were clean are the same objects.
    """
    dirty = {label for label, new in labels.items() if new != label}
    unlike = {group for group, new in groups.items() if new != group}
    return [
        replace(
            clip,
            labels=tuple(labels[label] for label in clip.labels),
            group=None if clip.group is None else groups[clip.group],
        )
        if clip.group in unlike or not dirty.isdisjoint(clip.labels)
        else clip
        for clip in clips
    ]
