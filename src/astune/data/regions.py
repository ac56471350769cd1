"""Labelled regions of recordings, and the clips that are made of them.

A sample: the line ``1.5<TAB>2.75<TAB>blackbird`` of ``garden.txt`` is a region of ``garden.wav``; as it is, it becomes the clip
``garden.wav 1.500-2.750``, and with windows of 2 s the clip ``garden.wav 1.125-3.125``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from astune.data.audio import SAMPLING_RATE
from astune.data.clip import Clip, Region
from astune.data.durations import measure_durations
from astune.data.labels import clean_label, cleaning_remark
from astune.data.window_labels import Part, cut_recording, overlaps
from astune.data.windowing import STEP, Measure
from astune.errors import ConfigError, DataError, format_faults
from astune.names import FRAME
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from astune.data.options import DataOptions
    from astune.data.splits import SplitName
    from astune.data.window_labels import Windows

_SLACK = 0.1  # seconds that a region may go on after the end of its recording: tables are rounded, and encoders pad
_SHARE = 0.95  # of the regions that a window holds
_LONGEST = 10.24  # seconds of the longest input
_FAR_MORE = 10  # times as many clips of background as others
_LEAST_LOST = 50  # ms in no window that are worth a word


@dataclass(frozen=True)
class LabelledRegion:
    """What a line of a label table says: this label sounds from here to there."""

    recording: str
    """Name of the recording in the data set: its path below the data set's folder, with ``/``."""
    path: Path
    """File of the recording."""
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds, after ``start``."""
    label: str
    """Empty where somebody has listened and a clip may have no label."""
    location: str
    """Location in the table, for messages: ``garden.txt line 3``."""
    split: SplitName | None = None
    fold: int | None = None
    group: str | None = None
    """Group that the table gives; by default the recording."""


@dataclass(frozen=True)
class Cut:
    """The clips that were cut from labelled regions."""

    clips: list[Clip]
    remarks: list[str]
    """What was left out or decided: lines that begin with ``Note:`` or ``Warning:``."""
    locations: dict[str, str]
    """Where each label first occurs."""
    window: float | None = None
    """Seconds of the windows; None where regions are clips as they are."""


def span_name(recording: str, start: float, end: float) -> str:
    """Name of a clip that is a part of a recording.

    Args:
        recording: its name.
        start: start in seconds.
        end: end in seconds.

    Returns:
        Such as ``garden.wav 1.500-2.750``.
    """
    return f"{recording} {start:.3f}-{end:.3f}"


def recording_of(clip: Clip) -> str:
    """Name of the recording that a clip is, or is a part of.

    Args:
        clip: any.

    Returns:
        The clip's name, without its span where it has one.
    """
    return clip.name if clip.end is None else clip.name.removesuffix(span_name("", clip.start or 0.0, clip.end))


def cut(
    regions: Sequence[LabelledRegion],
    options: DataOptions,
    *,
    events: bool,
    recordings: Mapping[str, Path],
    lengths: Mapping[str, float | None] | None = None,
    splits: Mapping[str, SplitName] | None = None,
    several: bool = False,
    source: str = "labelled regions",
) -> Cut:
    """Make clips of regions.

    Regions of a table are clips as they are, unless windows or background are asked for. Events always become windows. A window has every
    label that it holds enough of, and is used where that is one label, or where a clip may have several. Labels are cleaned.

    Args:
        regions: regions of any recordings, in any order.
        options: ``window``, ``hop``, ``min_overlap``, ``background`` and ``negative`` of them.
        events: whether the regions mark events within recordings, as label tracks do, and not clips as they are meant.
        recordings: files of all recordings that somebody has labelled, by name: those without a region too.
        lengths: lengths of recordings in seconds, by name, as far as they are known already.
        splits: splits of recordings without a region, by name; the regions of others say theirs.
        several: whether a clip may have several labels: then regions may overlap, and those of a table that are the same stretch are one
            clip.
        source: what faults are of, for messages.

    Returns:
        The clips.

    Raises:
        ConfigError: windows, hops or overlaps that do not go together.
        DataError: regions are beyond the end of their recording, overlap where a clip has one label, or put one recording on two sides; all
            faults at once, each with its location in the table.
    """
    windowed = events or options.windowed
    ordered, changed = _cleaned(regions)
    locations: dict[str, str] = {}
    for one in ordered:
        if one.label:
            locations.setdefault(one.label, one.location)
    files = {**(recordings if windowed else {}), **{one.recording: one.path for one in ordered}}
    known = lengths or {}
    unknown = [name for name in files if name not in known]
    lengths = {**known, **dict(zip(unknown, measure_durations([Region(files[name]) for name in unknown]), strict=True))}
    within, faults, remarks = _within(ordered, lengths)
    within, repeats = _once(within)
    remarks += [*changed, *repeats]
    if not windowed:
        clips, other_faults = _as_they_are(within, several=several)
        _refuse(source, [*faults, *other_faults])
        return Cut(clips, remarks, locations)
    deciding = [one for one in within if one.split != "test"] or within
    measure, note = _measure([one.end - one.start for one in deciding], options)
    cutter = _Cutter(measure, options, splits or {}, several)
    by_recording: dict[str, list[LabelledRegion]] = {name: [] for name in sorted(files)}
    for one in within:
        by_recording[one.recording].append(one)
    for name, some in by_recording.items():
        cutter.add(name, files[name], some, lengths[name])
    _refuse(source, [*faults, *cutter.faults])
    return Cut(cutter.clips, [*remarks, *note, *cutter.remarks(locations)], locations, measure.window / 1000)


def _refuse(source: str, faults: list[str]) -> None:
    if faults:
        raise DataError(format_faults(faults, source))


def _cleaned(regions: Sequence[LabelledRegion]) -> tuple[list[LabelledRegion], tuple[str, ...]]:
    """Regions with cleaned labels, in order; and a remark on the labels that were changed."""
    clean = {label: clean_label(label) for label in sorted({one.label for one in regions})}
    changed = {label: new for label, new in clean.items() if new != label}
    found = [replace(one, label=changed[one.label]) if one.label in changed else one for one in regions]
    found.sort(key=lambda one: (one.recording, one.start, one.end, one.label, one.location))
    return found, cleaning_remark(changed)


def _within(
    regions: Sequence[LabelledRegion], lengths: Mapping[str, float | None]
) -> tuple[list[LabelledRegion], list[str], list[str]]:
    """Regions cut to their recordings, faults of those that are outside, and what was cut."""
    inside: list[LabelledRegion] = []
    faults: list[str] = []
    beyond: list[LabelledRegion] = []
    for one in regions:
        length = lengths[one.recording]
        if length is None or one.end <= length:
            inside.append(one)
        elif one.start >= length or one.end > length + _SLACK:
            what = f"starts at {one.start:g} s" if one.start >= length else f"ends at {one.end:g} s"
            faults.append(
                f"{printable(one.location)}: it {what}, after the end of {printable(one.recording)} at {length:.3f} s"
            )
        else:
            inside.append(replace(one, end=length))
            beyond.append(one)
    verb = "is" if len(beyond) == 1 else "are"
    notes = [
        f"Note: {number_of(len(beyond), 'region')} {verb} cut at the end of the recording, up to {_SLACK:g} s before the given end, "
        f"{printable(beyond[0].location)} among them"
    ] if beyond else []  # fmt: skip
    return inside, faults, notes


def _once(regions: Sequence[LabelledRegion]) -> tuple[list[LabelledRegion], list[str]]:
    """Regions without those that say the same again, and a remark on these."""
    found: dict[tuple[str, str, str], LabelledRegion] = {}
    again: list[LabelledRegion] = []
    for one in regions:
        key = one.recording, span_name("", one.start, one.end), one.label
        if found.setdefault(key, one) is not one:
            again.append(one)
    verb = "is" if len(again) == 1 else "are"
    return list(found.values()), [
        f"Note: {number_of(len(again), 'region')} {verb} given twice and used once, {printable(again[0].location)} among them"
    ] if again else []  # fmt: skip


def _clip(name: str, one: LabelledRegion, labels: Sequence[str]) -> Clip:
    return Clip(
        name, one.path, _given(labels), start=one.start, end=one.end, split=one.split, fold=one.fold,
        group=one.group or one.recording,
    )  # fmt: skip


def _given(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels without the empty one, which means no label."""
    return tuple(filter(None, labels))


def _as_they_are(regions: Sequence[LabelledRegion], *, several: bool) -> tuple[list[Clip], list[str]]:
    """A clip of each region, and faults of those that one clip has another label in, or another place among the splits."""
    found: dict[str, list[LabelledRegion]] = {}
    faults: list[str] = []
    for one in regions:
        same = found.setdefault(span_name(one.recording, one.start, one.end), [])
        if same and not several:
            faults.append(_both(one, same[0]))
        elif same:
            faults += _sides_of(f"{one.recording} {one.start:.3f}-{one.end:.3f}", [same[0], one])[1]
        same.append(one)
    return [_clip(name, same[0], [one.label for one in same]) for name, same in found.items()], faults


def _both(one: LabelledRegion, other: LabelledRegion) -> str:
    shown = [f"{printable(r.label)!r} ({printable(r.location)}, {r.start:.3f}-{r.end:.3f} s)" for r in (one, other)]
    overlap = f"{printable(one.recording)}: {shown[0]} overlaps {shown[1]}"
    return f"{overlap}, and a clip has one label; keep one of them, or set task=multi-label"


def _ms(seconds: float) -> int:
    """Whole milliseconds, rounded down; a float is a little less than the number it was written as."""
    return round(seconds * 1e6) // 1000


def _ms_up(seconds: float) -> int:
    return -(-round(seconds * 1e6) // 1000)


def _measure(lengths: Sequence[float], options: DataOptions) -> tuple[Measure, list[str]]:
    """How windows are cut, and a remark where that was decided here.

    Raises:
        ConfigError: numbers that do not go together.
    """
    window, note = options.window, []
    if window is None:
        ordered = sorted(lengths) or [_LONGEST]
        needed = _ms_up(ordered[math.ceil(_SHARE * len(ordered)) - 1])
        window = min(max(-(-needed // 100) / 10, 0.1), _LONGEST)
        held = sum(length <= window + STEP / 1000 for length in lengths)
        share = f", which hold {held / len(lengths):.0%} of them" if lengths else ""
        note = [f"Note: regions become windows of {window:g} s{share} (set window for another length)"]
    least = FRAME / SAMPLING_RATE
    if window < least:
        raise ConfigError(f"window={window:g}: give at least {least:g} seconds, one frame of features")
    if options.hop is not None and options.hop < STEP / 1000:
        raise ConfigError(f"hop={options.hop:g}: give at least {STEP / 1000:g} seconds, the step of the features")
    if options.min_overlap is not None and options.min_overlap > window:
        raise ConfigError(
            f"min_overlap={options.min_overlap:g} is longer than the window of {window:g} s; give at most that"
        )
    milliseconds = _ms(window)
    hop = milliseconds if options.hop is None else _ms(options.hop)
    overlap = window / 2 if options.min_overlap is None else options.min_overlap
    return Measure(milliseconds, hop, max(_ms(overlap), 1)), note


class _Sides(NamedTuple):
    """The split, fold or group of all clips of a recording."""

    split: SplitName | None
    fold: int | None
    group: str


@dataclass
class _Cutter:
    """Recordings cut into windows, one after the other."""

    measure: Measure
    options: DataOptions
    splits: Mapping[str, SplitName]
    several: bool
    clips: list[Clip] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _mixed: list[str] = field(default_factory=list)
    _spoilt: list[str] = field(default_factory=list)
    _found: Counter[str] = field(default_factory=Counter)
    """Seconds and counts, by what they are of."""

    def add(self, name: str, path: Path, regions: Sequence[LabelledRegion], length: float | None) -> None:
        """Cut a recording; its faults are kept."""
        sides, faults = _sides_of(name, regions)
        if not regions:
            sides = sides._replace(split=self.splits.get(name))
        self.faults += faults
        background = self.options.background
        if length is None:  # the code that reads its audio says why it cannot be read
            clips, faults = _as_they_are(regions, several=self.several)
            self.clips += clips
            self.faults += faults
            if background is not None and not regions:
                self.clips.append(Clip(name, path, (background,), **sides._asdict()))
            return
        whole = max(_ms(length), 1)
        parts = [
            Part(_ms(one.start), min(max(_ms_up(one.end), _ms(one.start) + 1), whole), one.label) for one in regions
        ]
        negatives = {
            "",
            *(clean_label(label) for label in (*(self.options.negative or ()), *filter(None, [background]))),
        }
        pairs = [] if self.several else overlaps(parts, self.measure, negatives)
        self.faults += [_both(regions[first], regions[second]) for first, second in pairs]
        if self.faults:
            return
        cut = cut_recording(
            parts, whole, self.measure, negatives, background=background is not None, several=self.several
        )
        self._count(name, parts, cut)
        for (start, end), labels in [*cut.labelled, *((span, (str(background),)) for span in cut.background)]:
            begin, stop = start / 1000, end / 1000
            self.clips.append(
                Clip(span_name(name, begin, stop), path, _given(labels), start=begin, end=stop, **sides._asdict())
            )

    def _count(self, name: str, parts: Sequence[Part], cut: Windows) -> None:
        for spans, names in ((cut.mixed, self._mixed), (cut.spoilt, self._spoilt)):
            names += [span_name(name, start / 1000, end / 1000) for start, end in spans]
        self._found["lost"] += cut.lost
        self._found["regions"] += sum(part.end - part.start for part in parts)
        self._found["unused"] += cut.unused
        self._found["background"] += len(cut.background)

    def remarks(self, labels: Iterable[str]) -> list[str]:
        """What was left out of regions with these labels."""
        found, window = self._found, self.measure.window / 1000
        several = "holds" if len(self._mixed) == 1 else "hold"
        notes = []
        if self._mixed:
            notes.append(
                f"Note: {number_of(len(self._mixed), 'window')} {several} enough of several labels and cannot be used, "
                f"{printable(self._mixed[0])} among them; windows shorter than {window:g} s or a larger min_overlap leave out "
                "fewer, and task=multi-label none"
            )
        if self._spoilt:
            notes.append(
                f"Note: {number_of(len(self._spoilt), 'window')} of a negative label cannot be used, for some of another label is in it: "
                f"{printable(self._spoilt[0])}{' and others' if len(self._spoilt) > 1 else ''}"
            )
        if found["lost"] >= _LEAST_LOST:
            notes.append(
                f"Note: {found['lost'] / 1000:,.1f} of {found['regions'] / 1000:,.1f} s of the labelled regions are in no clip"
            )
        kept = {clean_label(label) for label in {label for clip in self.clips for label in clip.labels}}
        gone = [label for label in labels if label not in kept]
        if gone:
            names = ", ".join(map(printable, gone[:5])) + (", ..." if len(gone) > 5 else "")
            become = "it is not a class" if len(gone) == 1 else "they are not classes"
            notes.append(f"Warning: no window of {number_of(len(gone), 'label')} can be used, so {become}: {names}")
        return notes + self._background()

    def _background(self) -> list[str]:
        label, count, unused = self.options.background, self._found["background"], self._found["unused"] / 1000
        if label is None:
            return []
        lost = unused >= _LEAST_LOST / 1000
        rest = f"; {unused:,.1f} s more without a label are in pieces shorter than a window" if lost else ""
        notes = [f"Note: {number_of(count, 'window')} that no region touches, of label {printable(label)}{rest}"]
        others = len(self.clips) - count
        if count > _FAR_MORE * max(others, 1):
            notes.append(
                f"Note: there are {count:,} clips of {printable(label)} and {number_of(others, 'other clip')}; a longer hop gives fewer"
            )
        return notes


def _sides_of(name: str, regions: Sequence[LabelledRegion]) -> tuple[_Sides, list[str]]:
    """Split, fold and group of a recording, and faults where its regions disagree: windows of one recording share sound."""
    faults: list[str] = []
    first: dict[str, LabelledRegion] = {}
    for what in _Sides._fields:
        given = [one for one in regions if what != "group" or one.group is not None]
        if given:
            first[what] = given[0]
            other = next((one for one in given if getattr(one, what) != getattr(given[0], what)), None)
            if other is not None:
                both = " and ".join(
                    f"{getattr(one, what) or 'none'} ({printable(one.location)})" for one in (given[0], other)
                )
                faults.append(
                    f"{printable(name)} is in {what} {both}; windows of one recording share sound, so give it one {what}"
                )
    sides = {what: getattr(one, what) for what, one in first.items()}
    return _Sides(sides.get("split"), sides.get("fold"), sides.get("group") or name), faults
