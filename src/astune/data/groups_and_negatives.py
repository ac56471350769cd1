"""Options that hold for the clips of any layout: the task, groups found in names, and labels that mean none of the others.

A sample: ``group_by="site[0-9]+"`` puts ``2024/site07_0512.wav`` in the group ``site07``; ``negative=["wind"]`` keeps ``wind`` a class, and
no wind is ever an event. If a clip may have several labels, ``wind`` is not a class, and a clip of wind alone has no label.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from astune.data.labels import alike_groups, clean_label, is_missing
from astune.data.regions import recording_of
from astune.errors import ConfigError, DataError, unknown_choice
from astune.names import TaskName
from astune.patterns import SECONDS, compile_pattern
from astune.plurals import number_of
from astune.printable import printable
from astune.tasks import MULTI_LABEL, SINGLE_LABEL, TASKS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import regex

    from astune.data.dataset import AudioDataset
    from astune.data.options import DataOptions

_SHOWN = 3  # clips in a message


class UnknownNegativesError(ConfigError):
    """Labels are declared negative that do not occur.

    Attributes:
        labels: those.
    """

    def __init__(self, message: str, labels: Sequence[str]) -> None:
        super().__init__(message)
        self.labels = tuple(labels)


def with_options(dataset: AudioDataset, options: DataOptions) -> AudioDataset:
    """Say what clips may have, group them and declare negative labels.

    Args:
        dataset: the data set, as its layout read it.
        options: ``task``, ``group_by``, ``negative`` and ``background`` of them.

    Returns:
        The data set.

    Raises:
        ConfigError: a label is declared negative that does not occur (``UnknownNegativesError``), or the data have a task of their own.
        DataError: a recording has no group, all labels are negative, or clips do not fit the task.
    """
    if options.group_by is not None:
        dataset = _grouped(dataset, compile_pattern(options.group_by))
    dataset = _declared(_of_task(dataset, options.task), options)
    return _described(dataset) if dataset.task is MULTI_LABEL else dataset


def _of_task(dataset: AudioDataset, task: TaskName | None) -> AudioDataset:
    """Let the user's task hold.

    Raises:
        ConfigError: the data have a task of their own.
        DataError: clips have several labels or none, and the task is single-label.
    """
    if task is None or dataset.task.name == task:
        return dataset
    if dataset.task.name not in get_args(TaskName):
        raise ConfigError(f"{dataset.source} is of the task {dataset.task.name!r}, not {task!r}; leave task out")
    unfit = [clip for clip in dataset.clips if len(clip.labels) != 1] if task == SINGLE_LABEL.name else []
    if unfit:
        shown = ", ".join(f"{printable(clip.name)} ({printable(clip.label_text) or 'none'})" for clip in unfit[:_SHOWN])
        more = ", ..." if len(unfit) > _SHOWN else ""
        raise DataError(
            f"{dataset.source}: task=single-label, and {len(unfit):,} of {number_of(len(dataset.clips), 'clip')} have several labels or "
            f"none: {shown}{more}; set task=multi-label"
        )
    return replace(dataset, task=TASKS[task])


def _described(dataset: AudioDataset) -> AudioDataset:
    """Say how many labels clips have.

    Raises:
        DataError: a label has the sign that separates labels where they are shown in one line.
    """
    split = next((label for label in dataset.labels if "|" in label), None)
    if split is not None:
        raise DataError(
            f"{dataset.source}: label '{printable(split)}' has a vertical bar, which separates the labels of a clip in lists; "
            "rename it, or put the same sign between labels in all cells"
        )
    counts = Counter(len(clip.labels) for clip in dataset.clips)
    total = sum(count * clips for count, clips in counts.items())
    if set(counts) == {1}:
        said = "each has one; task=single-label gives one answer for each"
    else:
        said = f"{total / len(dataset.clips):.2f} on average, {max(counts)} at most, and {number_of(counts[0], 'clip')} without a label"
    note = f"Note: task multi-label: a clip may have several labels or none ({said})"
    return replace(dataset, remarks=(*dataset.remarks, note))


def _grouped(dataset: AudioDataset, pattern: regex.Pattern[str]) -> AudioDataset:
    """Put each recording in the group that its name has.

    Raises:
        DataError: a name has none, or the pattern takes too long.
    """
    names = {clip.name: recording_of(clip) for clip in dataset.clips}
    groups: dict[str, str] = {}
    without = []
    for recording in dict.fromkeys(names.values()):
        try:
            match = pattern.search(recording, timeout=SECONDS)
        except TimeoutError:
            raise DataError(
                f"group_by={pattern.pattern!r} takes more than {SECONDS:g} s with the name {printable(recording)}; "
                "do not repeat what repeats itself, as in '(a+)+'"
            ) from None
        group = clean_label((match[1] if pattern.groups else match[0]) or "") if match else ""
        if not group or is_missing(group):
            without.append(recording)
        groups[recording] = group
    if without:
        verb = "has" if len(without) == 1 else "have"
        raise DataError(
            f"group_by={pattern.pattern!r}: {len(without):,} of {number_of(len(groups), 'recording')} {verb} no group in the name, "
            f"{printable(without[0])} among them"
        )
    replaced = sum(clip.group not in (None, names[clip.name], groups[names[clip.name]]) for clip in dataset.clips)
    distinct = list(dict.fromkeys(groups.values()))
    verb = "is" if replaced == 1 else "are"
    notes = [
        f"Note: {number_of(len(groups), 'recording')} in {number_of(len(distinct), 'group')} by group_by, such as {distinct[0]}"
    ]
    if replaced:
        notes.append(
            f"Note: the groups that the data give to {number_of(replaced, 'clip')} {verb} not used, because of group_by"
        )
    clips = tuple(replace(clip, group=groups[names[clip.name]]) for clip in dataset.clips)
    return replace(dataset, clips=clips, remarks=(*dataset.remarks, *notes, *alike_groups(distinct)))


def _declared(dataset: AudioDataset, options: DataOptions) -> AudioDataset:
    """Say which labels mean none of the others.

    Raises:
        UnknownNegativesError: some of them do not occur.
        DataError: all labels are.
    """
    declared = list(dict.fromkeys(map(clean_label, options.negative or ())))
    background = [] if options.background is None else [clean_label(options.background)]
    absent = [label for label in declared if label not in [*dataset.labels, *background]]
    if absent:
        why = [remark for remark in dataset.remarks if remark.startswith("Warning:")]
        raise UnknownNegativesError(
            "\n".join([unknown_choice("negative label", absent[0], dataset.labels), *why]), absent
        )
    negatives = tuple(label for label in dataset.labels if label in {*declared, *background})
    if negatives and len(negatives) == len(dataset.labels):
        raise DataError(
            f"{dataset.source}: all labels are negative ({', '.join(map(printable, negatives[:5]))}), so there is nothing to find; "
            "give recordings of what they are none of"
        )
    if dataset.task is MULTI_LABEL:
        return _without(dataset, negatives) if negatives else dataset
    return replace(dataset, negatives=negatives) if negatives else dataset


def _without(dataset: AudioDataset, negatives: Collection[str]) -> AudioDataset:
    """Take negative labels from clips: where a clip may have none of the labels, they say nothing more than that."""
    alone = sum(bool(clip.labels) and set(clip.labels) <= set(negatives) for clip in dataset.clips)
    beside = sum(0 < len(set(clip.labels) & set(negatives)) < len(clip.labels) for clip in dataset.clips)
    shown = " and ".join(map(printable, negatives))
    none = "1 clip has" if alone == 1 else f"{alone:,} clips have"
    what = "is not a class" if len(negatives) == 1 else "are not classes"
    notes = [f"Note: {shown} {what}, because a clip may have no label (task multi-label): {none} none"]
    if beside:
        notes.append(
            f"Note: {number_of(beside, 'clip')} with {shown} and other labels {'keeps' if beside == 1 else 'keep'} the others alone"
        )
    clips = tuple(
        clip
        if set(clip.labels).isdisjoint(negatives)
        else replace(clip, labels=tuple(one for one in clip.labels if one not in negatives))
        for clip in dataset.clips
    )
    labels = tuple(label for label in dataset.labels if label not in negatives)
    return replace(dataset, clips=clips, labels=labels, remarks=(*dataset.remarks, *notes))
