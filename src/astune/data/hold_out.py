"""The tenth of training that is held out where a data set brings no validation split: single clips, or whole groups where clips have them.

A sample: of 40 clips of four speakers, ten each, all ten of one speaker are held out: 25 % is further from a tenth than the 10 % that
single clips would give, but it measures how well the model does on an unseen speaker. Of one long recording, windows that overlap
stay together.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.keyed import keyed_generator
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from astune.data.clip import Clip
    from astune.task import Task

VALIDATION_SHARE = 0.1
_PARTS = round(1 / VALIDATION_SHARE)
_SHOWN = 3  # groups and classes named in a notice
_GROUPS = re.compile(
    r"(speaker|session|recording|recorder|recordist|site|device|microphone|mic|location|station|individual|animal|subject|"
    r"patient|participant|client|user|srcfile|sourcefile|original|sourceid|fsid|group)s?(id|name|number|no|code)?"
)


Key = tuple[str, str]
"""Key of a group: ``("group", its name)``; for other clips ``("clip", name)``, with the first name of clips that overlap."""


@dataclass(frozen=True)
class HeldOut:
    """A division of training clips, and what was decided."""

    train: list[int]
    validation: list[int]
    notice: str


def hold_out(clips: Sequence[Clip], train: Sequence[int], seed: int, task: Task) -> HeldOut:
    """Divide training clips.

    Args:
        clips: clips of the data set.
        train: indices of the clips that would train.
        seed: the seed of the draw.
        task: says which classes a clip counts for.

    Returns:
        About a tenth of each class for validation; no class loses its last training clip.
    """
    groups: defaultdict[Key, list[int]] = defaultdict(list)
    classes = {number: task.strata(clips[number]) or (UNLABELLED,) for number in train}
    sounds = _sounds(clips, train)
    for number, key in group_keys(clips, train).items():
        groups[key].append(number)
    warning = ""
    if any(kind == "group" for kind, _ in groups):
        taken = _groups(classes, groups, seed) if len(groups) > 1 else []
        if taken:
            return _by_group(classes, groups, taken, seed, "groups")
        reason = _NO_GROUP if len(groups) > 1 else _ONE_GROUP
        warning = f"; warning: {reason}, so clips of one group are on both sides"
        groups = defaultdict(list)
        for number in train:
            groups["clip", sounds[number]].append(number)
    if len(groups) < len(train):
        taken = _groups(classes, groups, seed) if len(groups) > 1 else []
        if taken:
            made = _by_group(classes, groups, taken, seed, "stretches without overlap")
            return HeldOut(made.train, made.validation, made.notice + warning)
        warning += "; warning: clips on both sides overlap, so the epoch is chosen by what was trained on"
    held = _single({number: clips[number].name for number in train}, classes, seed)
    return _divided(train, held, f"a tenth of each class drawn with seed {seed}", warning)


def group_keys(clips: Sequence[Clip], numbers: Sequence[int]) -> dict[int, Key]:
    """What clips are not to be divided from: their group, and whatever shares sound with it.

    Args:
        clips: clips of the data set.
        numbers: indices of the clips to divide.

    Returns:
        The key of each clip by its index; groups with overlapping clips have one key.
    """
    sounds = _sounds(clips, numbers)
    keys: dict[int, Key] = {}
    first: dict[str, Key] = {}
    leads: dict[Key, Key] = {}

    def leader(key: Key) -> Key:
        while key in leads:
            key = leads[key]
        return key

    for number in numbers:
        group = clips[number].group
        keys[number] = ("clip", sounds[number]) if group is None else ("group", group)
        one, other = leader(keys[number]), leader(first.setdefault(sounds[number], keys[number]))
        if one != other:
            leads[max(one, other)] = min(one, other)
    return {number: leader(key) for number, key in keys.items()}


def _sounds(clips: Sequence[Clip], numbers: Sequence[int]) -> dict[int, str]:
    """A name per clip for the sound it shares: the first of overlapping parts of one recording, else its own name."""
    parts: defaultdict[Path, list[tuple[float, float, int]]] = defaultdict(list)
    found: dict[int, str] = {}
    for number in numbers:
        path, start, end = clips[number].region
        parts[path].append((start, float("inf") if end is None else end, number))
    for some in parts.values():
        name, until = "", -1.0
        for start, end, number in sorted(some):
            if start >= until:
                name = clips[number].name
            found[number], until = name, max(until, end)
    return found


UNLABELLED = ""
"""Used in place of a class for clips that have no label."""

NOTHING_HELD_OUT = (
    "no validation split is given, and no clip can be held out without the last training clip of a class; so no clip chooses the epoch, "
    "and the last one is kept"
)
_ONE_GROUP = "there is only one group"
_NO_GROUP = "no group can be held out without the last training clip of a class"


def _divided(train: Sequence[int], held: set[int], how: str, warning: str = "") -> HeldOut:
    validation = [number for number in train if number in held]
    if not validation:
        return HeldOut([*train], [], NOTHING_HELD_OUT)
    verb = "is" if len(validation) == 1 else "are"
    return HeldOut(
        [number for number in train if number not in held],
        validation,
        f"no validation split is given: {len(validation):,} of the training clips, {how}, {verb} held out to choose the epoch{warning}",
    )


Classes = dict[int, tuple[str, ...]]
"""The classes that a clip counts for, by the index of the clip."""


def _single(names: dict[int, str], classes: Classes, seed: int) -> set[int]:
    """A tenth of the clips of each class, by names alone.

    Where clips are of several classes, the class with the fewest clips that are still undecided is next, and all of its clips are decided
    (iterative stratification: Sechidis, Tsoumakas and Vlahavas, 2011): frequent classes have clips enough to make up for the others.
    """
    members: defaultdict[str, set[int]] = defaultdict(set)
    for number, labels in classes.items():
        for label in labels:
            members[label].add(number)
    ranks = {number: keyed_generator(seed, "validation", name).random() for number, name in names.items()}
    left = Counter({label: len(found) for label, found in members.items()})
    wanted = {label: max(1, round(VALIDATION_SHARE * len(found))) for label, found in members.items()}
    held: set[int] = set()
    while members:
        label = min(members, key=lambda one: (len(members[one]), one))
        for number in sorted(members[label], key=ranks.__getitem__):
            # A class of one clip stays in training: a class never trained on cannot be chosen for.
            if wanted[label] > 0 and all(left[other] > 1 for other in classes[number] if other != UNLABELLED):
                held.add(number)
                for other in classes[number]:
                    wanted[other] -= 1
                    left[other] -= 1
            for other in classes[number]:
                if other != label:
                    members[other].discard(number)
        del members[label]
    return held


def _groups(classes: Classes, groups: dict[Key, list[int]], seed: int) -> list[Key]:
    """Groups that bring the held share of each class nearest to a tenth, taken one by one in a drawn order.

    A class of which no clip is held then gets the group that costs the least, unless it would not train at all.
    """
    counts = {key: Counter(label for number in members for label in classes[number]) for key, members in groups.items()}
    whole: Counter[str] = Counter()
    for count in counts.values():
        whole.update(count)
    held: Counter[str] = Counter()
    ranks = {key: (keyed_generator(seed, "validation", key[1]).random(), key) for key in groups}
    ordered = sorted(groups, key=ranks.__getitem__)
    taken: dict[Key, None] = {}

    def take(key: Key) -> None:
        held.update(counts[key])
        taken[key] = None

    for key in ordered:
        if _gain(counts[key], held, whole) < 0:
            take(key)
    with_class: defaultdict[str, list[Key]] = defaultdict(list)
    for key in ordered:
        for label in counts[key]:
            with_class[label].append(key)
    for label in sorted(whole):
        if not held[label]:
            costs = {key: _gain(counts[key], held, whole) for key in with_class[label]}
            cheapest = min(costs, key=costs.__getitem__)
            if costs[cheapest] < float("inf"):
                take(cheapest)
    return list(taken)


def _gain(group: Counter[str], held: Counter[str], whole: Counter[str]) -> float:
    """How far the squared distances of the held shares from a tenth grow with a group; infinite if a class would be left empty."""
    if any(held[label] + count >= whole[label] for label, count in group.items() if label != UNLABELLED):
        return float("inf")
    # ((h + g) / n - 1/10)^2 - (h / n - 1/10)^2, times 10: whole numbers above the line, so that equal is equal
    return sum(
        count * (_PARTS * (2 * held[label] + count) - 2 * whole[label]) / whole[label] ** 2
        for label, count in group.items()
    )


def _by_group(classes: Classes, groups: dict[Key, list[int]], taken: Sequence[Key], seed: int, called: str) -> HeldOut:
    held = {number for key in taken for number in groups[key]}
    names = ", ".join(name for _, name in taken[:_SHOWN]) + (", ..." if len(taken) > _SHOWN else "")
    divided = _divided(
        list(classes), held, f"{len(taken)} of {len(groups)} {called} drawn whole with seed {seed} ({names})"
    )
    trained, chosen = ({label for n in side for label in classes[n]} for side in (divided.train, divided.validation))
    without = sorted(trained - chosen - {UNLABELLED})
    if not without:
        return divided
    shown = ", ".join(without[:_SHOWN]) + (", ..." if len(without) > _SHOWN else "")
    have = "1 class has" if len(without) == 1 else f"{len(without)} classes have"
    return HeldOut(divided.train, divided.validation, f"{divided.notice}; {have} no clip among them: {shown}")


def group_like(columns: Iterable[str]) -> tuple[str, ...]:
    """Columns whose name says that they may hold groups.

    Args:
        columns: names.

    Returns:
        Those like ``speaker`` or ``recording_id``.
    """
    return tuple(name for name in columns if _GROUPS.fullmatch(re.sub(r"[^a-z0-9]+", "", name.casefold())))


Sides = dict[str, dict[str, set[str | int]]]
"""The splits or folds in which a value occurs, by column and value."""


def crossing_columns(sides: Sides) -> list[str]:
    """Columns that may hold groups and have values in several of the splits or folds that a data set gives.

    Args:
        sides: sides of the columns of :func:`group_like`.

    Returns:
        A sentence for each column.
    """
    notes: list[str] = []
    for column, values in sides.items():
        crossing = sorted(value for value, found in values.items() if value and len(found) > 1)
        if crossing:
            notes.append(
                f"Note: {len(crossing):,} of {len(values):,} values of column {column} occur in several splits or folds "
                f"({', '.join(crossing[:_SHOWN])}{', ...' if len(crossing) > _SHOWN else ''}): "
                "where clips of one value are alike, scores are too good"
            )
    return notes


def crossing_groups(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Groups with clips in several of the splits or folds that a data set gives, and clips of other groups there that overlap.

    Args:
        clips: clips of the data set.

    Returns:
        One sentence of each kind, or none.
    """
    clips = list(clips)
    crossing = groups_in_several(clips)
    others = [number for number, clip in enumerate(clips) if clip.span and clip.group not in crossing]
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for number, first in _sounds(clips, others).items():
        sides[first].add(str(_side(clips[number])))
    overlapping = {first: found for first, found in sides.items() if len(found) > 1}
    return (*_of_groups(crossing), *_of_overlapping(overlapping))


def _of_overlapping(crossing: dict[str, set[str]]) -> tuple[str, ...]:
    if not crossing:
        return ()
    first, found = next(iter(crossing.items()))
    stretches = "1 stretch" if len(crossing) == 1 else f"{len(crossing):,} stretches"
    return (
        f"Warning: clips of {stretches} of sound overlap and are in several splits or folds, so scores may be too good: "
        f"{printable(first)} and those that overlap it are in {', '.join(sorted(found))}",
    )


def _of_groups(crossing: dict[str, set[str | int]]) -> tuple[str, ...]:
    if not crossing:
        return ()
    group, found = next(iter(crossing.items()))
    groups = "1 group is" if len(crossing) == 1 else f"{len(crossing)} groups are"
    where = ", ".join(sorted(map(str, found)))
    return (
        f"Warning: {groups} in several splits or folds, so scores may be too good: group {group} is in {where}"
        + (", for example" if len(crossing) > 1 else ""),
    )


def _side(clip: Clip) -> str | int:
    return clip.fold if clip.fold is not None else clip.split or "train"


def groups_in_several(clips: Iterable[Clip]) -> dict[str, set[str | int]]:
    """Groups with clips in several of the splits or folds that a data set gives.

    Args:
        clips: clips of the data set.

    Returns:
        The splits or folds of each.
    """
    sides: defaultdict[str, set[str | int]] = defaultdict(set)
    for clip in clips:
        if clip.group is not None:
            sides[clip.group].add(_side(clip))
    return {group: found for group, found in sides.items() if len(found) > 1}
