"""What ``astune data check`` finds, as values and as sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from astune.data.audio_notices import CutOff, doubt_notices
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astune.data.without_clips import WithoutClips

_SHOWN = 10  # of a list of faults
_MUCH_ABOVE = 0.1  # of the energy
_FAR = 1.0  # of the backbone's standard deviation, between the means
_OTHER_SPREAD = 2.0  # times, between the standard deviations


@dataclass(frozen=True)
class Broken:
    """A clip that cannot be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class Doubt:
    """What is suspicious of a clip that can be read."""

    name: str
    reason: str
    """The reason, as ``"kind: figures"``."""


@dataclass(frozen=True)
class ClipFigures:
    """What was measured of a clip that can be read."""

    name: str
    seconds: float
    level_dbfs: float | None
    """RMS of what is not silent; None where all of it is. A full-scale sine has -3."""
    silent_share: float
    """Share of the time, 0 to 1."""
    clipped_share: float
    """Share of the samples, 0 to 1."""
    above_8_khz_share: float
    """Share of the energy, 0 to 1."""


@dataclass(frozen=True)
class AboveHearing:
    """How much of the sound is above 8 kHz, which no backbone uses."""

    share: float
    """Share of the energy of all clips, 0 to 1."""
    median_share: float
    """Median over the clips of the share of their energy, 0 to 1."""
    clips_over_half: int
    """Clips with more than half of their energy there."""


@dataclass(frozen=True)
class InputLength:
    """What an input length would cut."""

    name: str
    """``suggested``, which training would choose, or of what it is the length: ``median clip``, ``95th percentile``, ``longest clip``."""
    max_length: int
    """Frames of 10 ms."""
    cut: CutOff


@dataclass(frozen=True)
class LogMel:
    """Log-Mel energies of all clips, compared with those that a backbone was pretrained with."""

    mean: float
    std: float
    backbone_mean: float
    backbone_std: float

    @property
    def far(self) -> bool:
        """Whether the means differ by more than the backbone's deviation, or one deviation is more than twice the other."""
        spread = self.std / self.backbone_std
        return abs(self.mean - self.backbone_mean) > _FAR * self.backbone_std or not (
            1 / _OTHER_SPREAD <= spread <= _OTHER_SPREAD
        )


@dataclass(frozen=True)
class SamePair:
    """Two clips that hold the same sound."""

    first: str
    second: str
    offset_seconds: float
    """The sound at a time of the first is at that time plus this in the second."""
    coherence: float
    """How alike they are there, from :data:`astune.data.near_duplicates.SAME` to 1."""


@dataclass(frozen=True)
class NearDuplicates:
    """Clips that hold the same sound but are not the same samples; exact copies of one of them are among them."""

    clips: list[str]
    parts: list[str]
    """Splits or folds that they are in."""
    labels: list[str]
    """Labels of the clips, one line each."""
    pairs: list[SamePair]


@dataclass(frozen=True)
class Report:
    """What :func:`astune.data.check.check` found."""

    source: str
    clips: int
    recordings: int
    """Files that the clips are in."""
    counts: dict[str, dict[str, int]]
    """Clips by class and part; a part is a split, or a fold where folds rotate."""
    part_clips: dict[str, int]
    """Clips by part. One with several labels counts once here, and under each of its labels in ``counts``."""
    seconds: dict[str, float]
    """min, median, percentile_95 and max; empty where no file can be read."""
    sampling_rates: dict[int, int]
    """Number of clips by sampling rate in Hz."""
    channels: dict[int, int]
    """Number of clips by number of channels."""
    broken: list[Broken]
    leaks: list[list[str]]
    """Names of clips that have the same samples and are in different splits or folds."""
    duplicates: list[list[str]]
    """Names of clips that have the same samples, within one part."""
    contradictions: list[list[str]]
    """Names of clips that have the same samples and different labels."""
    notices: list[str]
    """What was skipped, cleaned or interpreted when the data were read, and what looks wrong."""
    doubts: list[Doubt]
    """Clips that are cut short, silent, clipped, far too loud or quiet, or whose channels cancel out."""
    unheard: CutOff
    """Audio that would not be used with the input length that training would choose."""
    measures: list[ClipFigures] = field(default_factory=list)
    """Figures of each clip that can be read."""
    levels: dict[str, float] = field(default_factory=dict)
    """min, percentile_5, median, percentile_95 and max of the clips' levels, in dBFS; empty where all is silent."""
    silent_share: float = 0.0
    """Share of all the audio, 0 to 1."""
    clipped_clips: int = 0
    """Clips that have clipped samples, however few."""
    above_8_khz: AboveHearing = AboveHearing(0.0, 0.0, 0)
    lengths: list[InputLength] = field(default_factory=list)
    """What other input lengths would cut, the suggested one first; empty where no file can be read."""
    log_mel: LogMel | None = None
    """None where no front end was given, or no file can be read."""
    near_duplicates: list[NearDuplicates] = field(default_factory=list)
    doubtful_labels: dict[str, list[str]] = field(default_factory=dict)
    """Labels that look like ``several`` in one, like a value that is ``missing``, or are ``quoted``."""
    crossing_groups: dict[str, list[str]] = field(default_factory=dict)
    """Splits or folds of the groups that have clips in several of them."""
    without_clips: list[WithoutClips] = field(default_factory=list)
    """Classes of which a split would have no clip; where folds rotate, for each test fold."""

    @property
    def parts(self) -> list[str]:
        """Names of the parts, in order."""
        return list(self.part_clips)

    def record(self) -> dict[str, Any]:
        """The report as a dictionary, ready for JSON."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """What is wrong or worth knowing: the notices, and lines that begin with ``Note:``, ``Warning:`` or ``error:``."""
        return [*self.notices, *self._broken(), *self._suspicious(), *self._unsuited(), *self._the_same()]

    def _broken(self) -> Iterator[str]:
        for fault in self.broken[:_SHOWN]:
            yield f"error: {fault.reason}"
        if self.broken:
            broken = f"{len(self.broken):,} of {number_of(self.clips, 'clip')} cannot be read"
            yield f"{broken}; fix or remove them, or train without them (`astune train --skip-broken`)"

    def _suspicious(self) -> list[str]:
        return doubt_notices(((doubt.name, doubt.reason) for doubt in self.doubts), self.clips)

    def _unsuited(self) -> Iterator[str]:
        """Audio that the backbone cannot use, or that differs from its pretraining."""
        unheard = self.unheard
        if unheard.longer_clips:
            yield (
                f"Note: {unheard.longer(self.clips)} than the input of "
                f"{unheard.input_seconds:.1f} s that training would choose: {unheard.lost} would be cut off; "
                "`astune train --max-length` takes another input"
            )
        above = self.above_8_khz
        if above.share >= _MUCH_ABOVE or above.clips_over_half:
            over = (
                f", and more than half of it in {number_of(above.clips_over_half, 'clip')}"
                if above.clips_over_half
                else ""
            )
            yield (
                f"Note: {100 * above.share:.1f} % of the energy is above 8 kHz{over}; the backbone hears 16,000 samples a second, "
                "so all above 8 kHz is lost"
            )
        if self.log_mel and self.log_mel.far:
            found = self.log_mel
            yield (
                f"Note: the log-Mel energies have mean {found.mean:.1f} and standard deviation {found.std:.1f}, far from the "
                f"{found.backbone_mean:.1f} and {found.backbone_std:.1f} that the backbone was pretrained with: these clips are much "
                f"{_difference(found)} than what it knows"
            )

    def _the_same(self) -> Iterator[str]:
        near = self.near_duplicates
        across = [group.clips for group in near if len(group.parts) > 1]
        otherwise = [group.clips for group in near if len(group.labels) > 1]
        within = [group.clips for group in near if len(group.parts) == 1]
        groups = {
            "Warning: the same sound is in different splits or folds, so scores may be too good": self.leaks,
            "Warning: the same sound has different labels": self.contradictions,
            "Note: the same sound occurs more than once within a split or fold": self.duplicates,
            "Warning: nearly the same sound is in different splits or folds, so scores may be too good": across,
            "Warning: nearly the same sound has different labels": otherwise,
            "Note: nearly the same sound occurs more than once within a split or fold": within,
        }
        for sentence, group in groups.items():
            if group:
                yield f"{sentence}: {number_of(len(group), 'time')}, {_example(group)} among them"


def _example(group: Sequence[Sequence[str]]) -> str:
    return printable(" = ".join(group[0][:4]))


def _difference(found: LogMel) -> str:
    if found.mean < found.backbone_mean - _FAR * found.backbone_std:
        return "quieter, or have much less in most frequencies,"
    if found.mean > found.backbone_mean + _FAR * found.backbone_std:
        return "louder"
    return "more even" if found.std < found.backbone_std else "more uneven"
