"""Labelled regions of recordings, and the clips that are made of them.

A sample: the line ``1.5<TAB>2.75<TAB>blackbird`` of ``garden.txt`` is a region of ``garden.wav``; as it is, it becomes the clip
``garden.wav 1.500-2.750``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.data.clip import Clip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astune.data.options import DataOptions
    from astune.data.splits import SplitName


@dataclass(frozen=True)
class LabelledRegion:
    """What a line of a label table says: this label sounds from here to there."""

    recording: str
    """Name of the recording in the data set: its path below the data set's folder, with ``/``."""
    path: Path
    """Its file."""
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds, after ``start``."""
    label: str
    place: str
    """Where it stands, for messages: ``garden.txt line 3``."""
    split: SplitName | None = None
    fold: int | None = None
    group: str | None = None
    """As the table gives it; the recording is the group where None."""


@dataclass(frozen=True)
class Cut:
    """Clips of regions."""

    clips: list[Clip]
    remarks: list[str]
    """What was left out or decided: lines that begin with ``Note:`` or ``Warning:``."""
    places: dict[str, str]
    """Where each label first stands."""


def cut(
    regions: Sequence[LabelledRegion],
    options: DataOptions,
    *,
    events: bool,
    recordings: Mapping[str, Path],
) -> Cut:
    """Make clips of regions.

    Args:
        regions: of any recordings, in any order.
        options: ``window``, ``hop``, ``min_overlap`` and ``background`` of them.
        events: whether the regions mark events within recordings, as label tracks do, and not clips as they are meant.
        recordings: files of all recordings that somebody has labelled, by name: those without a region too.

    Returns:
        The clips.

    Raises:
        DataError: regions that lie beyond their recording, or overlap where a clip has one label; all faults at once, each with its place.
    """
    del options, events, recordings
    clips = [
        Clip(
            f"{one.recording} {one.start:.3f}-{one.end:.3f}", one.path, (one.label,), start=one.start, end=one.end,
            split=one.split, fold=one.fold, group=one.group or one.recording,
        )
        for one in regions
    ]  # fmt: skip
    places: dict[str, str] = {}
    for one in regions:
        places.setdefault(one.label, one.place)
    return Cut(clips, [], places)
