"""Options that hold for the clips of any layout: groups found in names, and labels that mean none of the others.

A sample: ``group_by="site[0-9]+"`` puts ``2024/site07_0512.wav`` in the group ``site07``; ``negative=["wind"]`` keeps ``wind`` a class, and
no wind is ever an event.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from astune.data.labels import alike_groups, cleaned, is_missing
from astune.data.regions import recording_of
from astune.errors import ConfigError, DataError, unknown
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from astune.data.dataset import AudioDataset
    from astune.data.options import DataOptions


def with_options(dataset: AudioDataset, options: DataOptions) -> AudioDataset:
    """Group clips and declare negative labels.

    Args:
        dataset: as its layout read it.
        options: ``group_by``, ``negative`` and ``background`` of them.

    Returns:
        The data set.

    Raises:
        ConfigError: a label is declared negative that does not occur.
        DataError: a recording has no group, or all labels are negative.
    """
    if options.group_by is not None:
        dataset = _grouped(dataset, re.compile(options.group_by))
    return _declared(dataset, options)


def _grouped(dataset: AudioDataset, pattern: re.Pattern[str]) -> AudioDataset:
    """Put each recording in the group that its name has.

    Raises:
        DataError: a name has none.
    """
    names = {clip.name: recording_of(clip) for clip in dataset.clips}
    groups: dict[str, str] = {}
    without = []
    for recording in dict.fromkeys(names.values()):
        match = pattern.search(recording)
        group = cleaned((match[1] if pattern.groups else match[0]) or "") if match else ""
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
        ConfigError: one of them does not occur.
        DataError: all labels are.
    """
    declared = list(dict.fromkeys(map(cleaned, options.negative or ())))
    background = [] if options.background is None else [cleaned(options.background)]
    for label in declared:
        if label not in [*dataset.labels, *background]:
            why = [remark for remark in dataset.remarks if remark.startswith("Warning:")]
            raise ConfigError("\n".join([unknown("negative label", label, dataset.labels), *why]))
    negatives = tuple(label for label in dataset.labels if label in {*declared, *background})
    if negatives and len(negatives) == len(dataset.labels):
        raise DataError(
            f"{dataset.source}: all labels are negative ({', '.join(map(printable, negatives[:5]))}), so there is nothing to find; "
            "give recordings of what they are none of"
        )
    return replace(dataset, negatives=negatives) if negatives else dataset
