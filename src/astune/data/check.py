"""What a data set really holds: every file decoded, counted, measured, and compared with every other by its sound."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from astune.console import progress
from astune.data.audio_notices import cut_off, input_seconds
from astune.data.balance import balance_notices
from astune.data.check_report import (
    AboveHearing,
    Broken,
    ClipFigures,
    Doubt,
    InputLength,
    LogMel,
    NearDuplicates,
    Report,
    SamePair,
)
from astune.data.dataset import input_frames
from astune.data.hold_out import NOTHING_HELD_OUT, groups_in_several
from astune.data.labels import doubtful_kinds
from astune.data.measured import EnergySums, measure
from astune.data.near_duplicates import near_duplicates, prints_per_kept
from astune.data.threads import in_threads
from astune.data.without_clips import find_without_clips, without_clips_notices
from astune.names import LONGEST_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from astune.data.clip import Clip, Region
    from astune.data.dataset import AudioDataset
    from astune.data.measured import FrontEnd, Measured
    from astune.data.quality import Quality

CLIPPED = "clipped"
MOSTLY_SILENT = "mostly silent"
OTHER_LEVEL = "much louder or quieter than the other clips"
"""Kinds of doubt, in addition to those of :mod:`astune.data.levels` and :mod:`astune.data.audio`."""

_MUCH_CLIPPED = 0.001  # of a clip's samples
_MUCH_SILENT = 0.5  # of a clip's time
_NEAR_LENGTH = 0.05  # by which two input lengths differ that are worth a line each
_FAR_LEVEL = 20.0  # dB from the median clip: ten times its amplitude, or a tenth


def check(dataset: AudioDataset, front_end: FrontEnd | None = None, *, quiet: bool = False) -> Report:
    """Decode every clip, in threads, and compare all by their sound.

    Args:
        dataset: the data set, as loaded.
        front_end: of the backbone that will be trained, as ``load_front_end("bundled", 98)`` of :mod:`astune.backbone.load` or
            ``backbone.front_end`` gives it: the log-Mel energies of the clips are then compared with those of its pretraining.
        quiet: no progress bar.

    Returns:
        Counts, figures and faults. Broken clips are among them and raise nothing.

    Raises:
        AudioError: a clip can be read at first and no longer when it is compared.
    """
    sounds, broken = _listen_to_all(dataset, front_end, quiet=quiet)
    copies = _copies(sounds)
    alike = [group for group in copies if len(group) > 1]
    above, doubts = _above(sounds.values()), _doubts(sounds)
    levels = [sound.quality.level_dbfs for sound in sounds.values() if sound.quality.level_dbfs is not None]
    seconds = [sound.seconds for sound in sounds.values()]
    lengths = _lengths(dataset, sounds)
    part_clips = _part_clips(dataset)
    without = find_without_clips(dataset)
    return Report(
        source=dataset.source,
        clips=len(dataset.clips),
        recordings=len({clip.path for clip in dataset.clips}),
        counts=_counts(dataset, part_clips),
        part_clips=part_clips,
        seconds=_figures(seconds, min=0.0, median=0.5, percentile_95=0.95, max=1.0),
        sampling_rates=_sorted_counts(sound.sampling_rate for sound in sounds.values()),
        channels=_sorted_counts(sound.channels for sound in sounds.values()),
        broken=broken,
        leaks=[_names(group) for group in alike if len(_parts(group)) > 1],
        duplicates=[_names(group) for group in alike if len(_parts(group)) == 1],
        contradictions=[_names(group) for group in alike if len({clip.labels for clip in group}) > 1],
        notices=[*_notices(dataset), *balance_notices(dataset), *without_clips_notices(dataset, without)],
        doubts=doubts,
        unheard=lengths[0].cut if lengths else cut_off([], input_seconds(dataset.settled_length or input_frames([]))),
        measures=[_clip_figures(clip, sound) for clip, sound in sounds.items()],
        levels=_figures(levels, min=0.0, percentile_5=0.05, median=0.5, percentile_95=0.95, max=1.0),
        silent_share=_rounded(sum(s.seconds * s.quality.silent_share for s in sounds.values()) / (sum(seconds) or 1.0)),
        clipped_clips=sum(sound.quality.clipped_share > 0 for sound in sounds.values()),
        above_8_khz=above,
        lengths=lengths,
        log_mel=_log_mel((sound.energies for sound in sounds.values()), front_end),
        near_duplicates=_near(copies, sounds, quiet=quiet),
        doubtful_labels=doubtful_kinds(dataset.labels),
        crossing_groups=_crossing(dataset),
        without_clips=without,
    )


def _listen_to_all(
    dataset: AudioDataset, front_end: FrontEnd | None, *, quiet: bool
) -> tuple[dict[Clip, Measured], list[Broken]]:
    sounds: dict[Clip, Measured] = {}
    broken: list[Broken] = []
    thinned = prints_per_kept(len(dataset.clips))

    def listen(region: Region) -> Measured | str:
        return measure(region, front_end, thinned)

    regions = [clip.region for clip in dataset.clips]
    with progress("Decoding", len(regions), quiet=quiet) as advance:
        for clip, measured in zip(dataset.clips, in_threads(listen, regions, _begin(front_end)), strict=True):
            if isinstance(measured, str):
                broken.append(Broken(clip.name, measured))
            else:
                sounds[clip] = measured
            advance(1, f"{len(broken)} broken" if broken else "")
    return sounds, broken


def _begin(front_end: FrontEnd | None) -> Callable[[], None] | None:
    """What each thread begins with: a front end computes with torch, which would start a team of threads in each."""
    if front_end is None:
        return None
    import torch

    from astune.compute import one_core

    usual = torch.get_num_threads()
    return lambda: one_core(usual)


def _log_mel(sums: Iterable[EnergySums], front_end: FrontEnd | None) -> LogMel | None:
    every = sum(sums, EnergySums())
    if front_end is None or not every.count:
        return None
    mean = every.total / every.count
    deviation = math.sqrt(max(every.squares / every.count - mean**2, 0.0))
    return LogMel(_rounded(mean), _rounded(deviation), front_end.mean, front_end.std)


def _doubts(sounds: dict[Clip, Measured]) -> list[Doubt]:
    """What decoding found suspicious, and how a clip differs from the others."""
    levels = [sound.quality.level_dbfs for sound in sounds.values() if sound.quality.level_dbfs is not None]
    usual = median(levels) if levels else 0.0
    return [
        Doubt(clip.name, doubt)
        for clip, sound in sounds.items()
        for doubt in (*sound.doubts, *_doubts_of_quality(sound.quality, usual))
    ]


def _doubts_of_quality(quality: Quality, usual: float) -> Iterable[str]:
    level = quality.level_dbfs
    if quality.clipped_share >= _MUCH_CLIPPED:
        yield f"{CLIPPED}: {_percent(quality.clipped_share)} of its samples"
    if level is None:
        return  # silent throughout, or what cancels out: that is said already
    if quality.silent_share > _MUCH_SILENT:
        yield f"{MOSTLY_SILENT}: {_percent(quality.silent_share)} of it"
    if abs(level - usual) >= _FAR_LEVEL:
        yield f"{OTHER_LEVEL}: {level:.0f} dBFS, and the median is {usual:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _clip_figures(clip: Clip, sound: Measured) -> ClipFigures:
    quality = sound.quality
    level = None if quality.level_dbfs is None else round(quality.level_dbfs, 2)
    shares = (quality.silent_share, quality.clipped_share, quality.above_8_khz_share)
    return ClipFigures(clip.name, round(sound.seconds, 3), level, *(round(share, 6) for share in shares))


def _above(sounds: Iterable[Measured]) -> AboveHearing:
    measured = [sound for sound in sounds if sound.quality.power > 0]
    if not measured:
        return AboveHearing(0.0, 0.0, 0)
    shares = [sound.quality.above_8_khz_share for sound in measured]
    energies = [sound.quality.power * sound.seconds for sound in measured]
    share = float(np.average(shares, weights=energies))
    return AboveHearing(_rounded(share), _rounded(median(shares)), sum(share > 0.5 for share in shares))


def _lengths(dataset: AudioDataset, sounds: dict[Clip, Measured]) -> list[InputLength]:
    """What training would choose: the data set's own length, or one that the clips but those of a test split decide; then others."""
    if not sounds:
        return []
    deciding = [sound.seconds for clip, sound in sounds.items() if dataset.folds or clip.split != "test"]
    found = {"suggested": dataset.settled_length or input_frames(deciding)}
    every = [sound.seconds for sound in sounds.values()]
    for name, share in {"median clip": 0.5, "95th percentile": 0.95, "longest clip": 1.0}.items():
        frames = input_frames(every, share, longest=LONGEST_INPUT)
        if all(abs(frames - other) > _NEAR_LENGTH * other for other in found.values()):
            found[name] = frames
    return [InputLength(name, frames, cut_off(every, input_seconds(frames))) for name, frames in found.items()]


def _near(copies: Sequence[Sequence[Clip]], sounds: dict[Clip, Measured], *, quiet: bool) -> list[NearDuplicates]:
    """Groups of clips that hold the same sound; of exact copies, one is compared for all."""
    ones = [group[0] for group in copies]

    def parts_of_one_file(first: int, second: int) -> bool:
        """Overlapping windows of a recording share sound, and that is meant while they are on one side."""
        same = ones[first].path == ones[second].path
        return same and len(_parts([*copies[first], *copies[second]])) == 1

    matches = near_duplicates(
        [sounds[clip].prints for clip in ones], [clip.region for clip in ones], parts_of_one_file, quiet=quiet
    )
    groups: dict[int, set[int]] = {}
    for match in matches:
        joined = groups.get(match.first, {match.first}) | groups.get(match.second, {match.second})
        groups |= dict.fromkeys(joined, joined)
    found = []
    for members in {min(group): group for group in groups.values()}.values():
        clips = [clip for one in sorted(members) for clip in copies[one]]
        pairs = [
            SamePair(ones[match.first].name, ones[match.second].name, match.offset_seconds, match.coherence)
            for match in matches
            if match.first in members
        ]
        labels = sorted({clip.label_text or "no label" for clip in clips})
        found.append(NearDuplicates(sorted(_names(clips)), sorted(_parts(clips)), labels, pairs))
    return sorted(found, key=lambda group: group.clips)


def _crossing(dataset: AudioDataset) -> dict[str, list[str]]:
    named = "fold {}" if dataset.folds else "{}"
    return {
        group: sorted(named.format(part) for part in parts) for group, parts in groups_in_several(dataset.clips).items()
    }


def _notices(dataset: AudioDataset) -> list[str]:
    split = dataset.split(dataset.folds[0] if dataset.folds else None)
    drawn = "Warning: a tenth of training will be held out to choose the epoch, and"
    about_validation = f"{drawn} {ungrouped}" if (ungrouped := dataset.ungrouped()) else None
    if NOTHING_HELD_OUT in (split.notice or ""):
        about_validation = f"Warning: {NOTHING_HELD_OUT}"
    thinned = prints_per_kept(len(dataset.clips))
    compared = (
        f"Note: of so many clips, one fingerprint in {thinned} is compared: copies of very short sounds may be missed"
    )
    return [
        *dataset.notices,
        *([about_validation] if about_validation else []),
        *([compared] if thinned > 1 else []),
    ]


def _part(clip: Clip) -> str:
    return f"fold {clip.fold}" if clip.fold is not None else clip.split or "train"


def _parts(clips: Iterable[Clip]) -> set[str]:
    return {_part(clip) for clip in clips}


def _counts(dataset: AudioDataset, parts: Iterable[str]) -> dict[str, dict[str, int]]:
    found = Counter((label, _part(clip)) for clip in dataset.clips for label in dataset.task.strata(clip))
    return {label: {part: found[label, part] for part in parts} for label in dataset.labels}


def _part_clips(dataset: AudioDataset) -> dict[str, int]:
    found = Counter(map(_part, dataset.clips))
    parts = [f"fold {fold}" for fold in dataset.folds]
    parts += [name for name in ("train", "validation", "test") if found[name]]
    return {part: found[part] for part in parts}


def _figures(values: Sequence[float], **shares: float) -> dict[str, float]:
    """Percentiles by name, of the values themselves, as the input length is chosen; but the median may be between two."""
    if not values:
        return {}
    ordered = sorted(values)

    def percentile(share: float) -> float:
        return median(ordered) if share == 0.5 else ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

    return {name: round(percentile(share), 3) for name, share in shares.items()}


def _rounded(value: float) -> float:
    return round(value, 4)


def _sorted_counts(values: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(values).items()))


def _copies(sounds: dict[Clip, Measured]) -> list[list[Clip]]:
    """Clips by their samples: every clip, alone or with those that have the same."""
    groups: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip, sound in sounds.items():
        groups[sound.digest].append(clip)
    return list(groups.values())


def _names(group: Iterable[Clip]) -> list[str]:
    return [clip.name for clip in group]
