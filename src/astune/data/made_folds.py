"""Test folds for data that have none: groups stay whole, and each class is spread over the folds.

A sample: 40 clips of four speakers become four folds, each a speaker. 40 clips without groups become five folds of eight.
The same clips give the same folds on every machine. Labels and groups decide, and no audio is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from astune.data.hold_out import group_keys
from astune.errors import DataError
from astune.keyed import keyed_generator
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.dataset import AudioDataset

USUAL_FOLDS = 5
_SHOWN = 3  # classes named in a message

Units = list[list[int]]
"""Clips that stay together, by index."""


@dataclass(frozen=True)
class _Way:
    """One way of keeping clips together."""

    units: Units
    called: str
    warning: str
    """What is given up, compared with the previous way; empty for the first."""


def with_folds(dataset: AudioDataset, count: int) -> AudioDataset:
    """Divide clips into test folds, numbered from 1.

    Args:
        dataset: a data set without folds and without a test split.
        count: number of folds, 2 or more.

    Returns:
        The data set with a fold for each clip. No group, and no sound that clips share, is in two folds, unless that would leave a class
        without training clips; then a warning among the remarks says so. Each class is in two folds or more, so it can always be trained.

    Raises:
        DataError: the data say themselves which clips test, a class has one clip, or there are too few clips or groups for so many folds.
    """
    _refuse_divided(dataset)
    way, folds = _divided(dataset, [count, *range(count - 1, 1, -1)])
    if len(folds) < count:
        kind = "group" if way.called == "groups" else "clip"
        raise DataError(
            f"make_folds={count}: {dataset.source} has {number_of(len(way.units), kind)} to divide, and no class may lose all its "
            f"training clips; give {len(folds)} or less"
        )
    unused = any(clip.split == "validation" for clip in dataset.clips)
    remarks = [
        f"Note: {len(folds)} test folds are made of {len(way.units):,} {way.called}, each class spread over them"
        + ("; the validation split is not used" if unused else ""),
        *([f"Warning: {way.warning}"] if way.warning else []),
    ]
    fold_of = {clip: number for number, members in enumerate(folds, start=1) for clip in members}
    clips = tuple(replace(clip, fold=fold_of[number], split=None) for number, clip in enumerate(dataset.clips))
    return replace(dataset, clips=clips, remarks=(*dataset.remarks, *remarks))


def usual_folds(dataset: AudioDataset) -> int:
    """How many folds suit data that have none.

    Args:
        dataset: see :func:`with_folds`.

    Returns:
        Five, or as many as the groups allow.

    Raises:
        DataError: see :func:`with_folds`.
    """
    _refuse_divided(dataset)
    return len(_divided(dataset, range(USUAL_FOLDS, 1, -1))[1])


def _refuse_divided(dataset: AudioDataset) -> None:
    if dataset.folds:
        shown = ", ".join(map(str, dataset.folds))
        raise DataError(f"{dataset.source} has folds of its own ({shown}); leave make_folds out")
    if any(clip.split == "test" for clip in dataset.clips):
        raise DataError(f"{dataset.source} says itself which clips test; leave make_folds out")
    counts = Counter(label for clip in dataset.clips for label in dataset.task.strata(clip))
    scarce = [label for label in dataset.labels if counts[label] < 2]
    if scarce:
        names = ", ".join(map(printable, scarce[:_SHOWN])) + (", ..." if len(scarce) > _SHOWN else "")
        raise DataError(
            f"{dataset.source}: folds need two clips of each class, one to train and one to test; "
            f"too few of {number_of(len(scarce), 'class')}: {names}"
        )


def _divided(dataset: AudioDataset, counts: Sequence[int]) -> tuple[_Way, Units]:
    """The first way in which the clips can be divided, and its folds for the first number of folds that it allows.

    Raises:
        DataError: the clips cannot be divided, as can happen with clips of several labels.
    """
    for way in _ways(dataset):
        for count in counts:
            folds = _assigned(dataset, way.units, count)
            if folds is not None:
                return way, folds
    raise DataError(
        f"{dataset.source} cannot be divided into test folds: some class would lose all its training clips; give more clips of the "
        "rare classes, or a column fold"
    )


def _ways(dataset: AudioDataset) -> list[_Way]:
    """Groups whole, else what overlaps whole, else clip by clip."""
    everything = range(len(dataset.clips))
    found = []
    if any(clip.group is not None for clip in dataset.clips):
        found.append(_Way(_together(group_keys(dataset.clips, everything)), "groups", ""))
    ungrouped = _together(group_keys([replace(clip, group=None) for clip in dataset.clips], everything))
    given_up = (
        "a class would lose all its training clips with a whole {}, so clips of one {} are in several folds"
        if found
        else ""
    )
    overlap = len(ungrouped) < len(dataset.clips)
    called = "stretches without overlap" if overlap else "clips"
    found.append(_Way(ungrouped, called, given_up.format("group", "group")))
    if overlap:
        both = "group or a whole stretch" if found[0].called == "groups" else "stretch"
        warning = (
            f"a class would lose all its training clips with a whole {both}, so clips that overlap are in several folds"
        )
        found.append(_Way([[clip] for clip in everything], "clips", warning))
    return found


def _together(keys: dict[int, tuple[str, str]]) -> Units:
    members: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, key in keys.items():
        members[key].append(number)
    return list(members.values())


def _assigned(dataset: AudioDataset, units: Units, count: int) -> Units | None:
    """Put each unit in the fold that brings the shares of its classes nearest to equal; the largest units and rarest classes first.

    Returns:
        The clips of each fold; None where a fold would be empty or a class would be in one fold only.
    """
    if len(units) < count:
        return None
    strata = [dataset.task.strata(clip) for clip in dataset.clips]
    whole = Counter(label for labels in strata for label in labels)
    counts = [Counter(label for clip in unit for label in strata[clip]) for unit in units]
    rarest = [min((whole[label] for label in found), default=len(strata)) for found in counts]
    firsts = [min(dataset.clips[clip].name for clip in unit) for unit in units]
    ranks = [keyed_generator(0, "made-folds", name).random() for name in firsts]
    order = sorted(range(len(units)), key=lambda unit: (-len(units[unit]), rarest[unit], ranks[unit]))
    folds: Units = [[] for _ in range(count)]
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    for unit in order:
        own = counts[unit]
        open_folds = [
            fold for fold in range(count) if all(held[fold][label] + own[label] < whole[label] for label in own)
        ]
        if not open_folds:
            return None
        best = min(open_folds, key=lambda fold: (_crowding(own, held[fold], whole), len(folds[fold])))
        folds[best] += units[unit]
        held[best].update(own)
    return [sorted(fold) for fold in folds] if all(folds) else None


def _crowding(unit: Counter[str], held: Counter[str], whole: Counter[str]) -> float:
    """How far the squared shares of the unit's classes in a fold grow with it: the less, the nearer to equal all folds become."""
    return sum(count * (2 * held[label] + count) / whole[label] ** 2 for label, count in unit.items())
