"""What a data set really holds: every file decoded, counted, measured, and compared with every other by its sound."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from astune.console import progress
from astune.data.audio import survey
from astune.data.balance import balance_notices
from astune.data.dataset import input_frames
from astune.data.heard import Unheard, input_seconds, unheard
from astune.data.threads import in_threads
from astune.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.data.clip import Clip, Region
    from astune.data.dataset import AudioDataset


@dataclass(frozen=True)
class Sound:
    """What decoding one file gave."""

    seconds: float
    sampling_rate: int
    channels: int
    digest: str
    """Of rate and samples, so that a copy under another name or in another lossless format is found."""
    doubts: tuple[str, ...]
    """What is suspicious, as :attr:`astune.data.audio.Facts.doubts`."""


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
    """As ``"kind: figures"``."""


@dataclass(frozen=True)
class Report:
    """What :func:`check` found."""

    source: str
    clips: int
    counts: dict[str, dict[str, int]]
    """Clips by class and part; a part is a split, or a fold where folds rotate."""
    seconds: dict[str, float]
    """min, median, percentile_95 and max; empty where no file can be read."""
    sampling_rates: dict[int, int]
    """Clips by rate in Hz."""
    channels: dict[int, int]
    """Clips by number of channels."""
    broken: list[Broken]
    leaks: list[list[str]]
    """Names of clips that sound the same and lie in different parts."""
    duplicates: list[list[str]]
    """Names of clips that sound the same within one part."""
    contradictions: list[list[str]]
    """Names of clips that sound the same and have different labels."""
    notices: list[str]
    """What was passed over, cleaned or understood when the data were read, and what of them looks wrong."""
    doubts: list[Doubt]
    """Clips that are cut short, silent, far too loud or quiet, or whose channels cancel out."""
    unheard: Unheard
    """What would not be heard with the input length that training would choose."""

    @property
    def parts(self) -> list[str]:
        """Names of the parts, in order."""
        return list(next(iter(self.counts.values())))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def check(dataset: AudioDataset, *, quiet: bool = False) -> Report:
    """Decode every clip, in threads.

    Args:
        dataset: as loaded.
        quiet: no progress bar.

    Returns:
        Counts, figures and faults.
    """
    sounds: dict[Clip, Sound] = {}
    broken: list[Broken] = []
    with progress("Decoding", len(dataset.clips), quiet=quiet) as advance:
        for clip, heard in zip(
            dataset.clips, in_threads(_listen, [clip.region for clip in dataset.clips]), strict=True
        ):
            if isinstance(heard, str):
                broken.append(Broken(clip.name, heard))
            else:
                sounds[clip] = heard
            advance(1, f"{len(broken)} broken" if broken else "")
    alike = _alike(sounds)
    return Report(
        source=dataset.source,
        clips=len(dataset.clips),
        counts=_counts(dataset),
        seconds=_figures([sound.seconds for sound in sounds.values()]),
        sampling_rates=_sorted_counts(sound.sampling_rate for sound in sounds.values()),
        channels=_sorted_counts(sound.channels for sound in sounds.values()),
        broken=broken,
        leaks=[_names(group) for group in alike if len({_part(clip) for clip in group}) > 1],
        duplicates=[_names(group) for group in alike if len({_part(clip) for clip in group}) == 1],
        contradictions=[_names(group) for group in alike if len({clip.labels for clip in group}) > 1],
        notices=[*_notices(dataset), *balance_notices(dataset)],
        doubts=[Doubt(clip.name, doubt) for clip, sound in sounds.items() for doubt in sound.doubts],
        unheard=_unheard(dataset, sounds),
    )


def _listen(region: Region) -> Sound | str:
    samples = hashlib.sha256()
    path, start, end = region
    try:
        facts = survey(path, lambda mono: samples.update(mono.data), start, end=end, pipes=False)
    except AudioError as fault:
        return str(fault)
    digest = f"{facts.sampling_rate} {samples.hexdigest()}"
    return Sound(facts.seconds, facts.sampling_rate, facts.channels, digest, facts.doubts)


def _unheard(dataset: AudioDataset, sounds: dict[Clip, Sound]) -> Unheard:
    """With the input length of training: the data set's own, or one that the clips but those of a test split decide."""
    deciding = [sound.seconds for clip, sound in sounds.items() if dataset.folds or clip.split != "test"]
    frames = dataset.recipe.max_length or input_frames(deciding)
    return unheard((sound.seconds for sound in sounds.values()), input_seconds(frames))


def _notices(dataset: AudioDataset) -> list[str]:
    ungrouped = dataset.ungrouped()
    drawn = "Warning: a tenth of training will be held out to choose the epoch, and"
    return [*dataset.notices, *([f"{drawn} {ungrouped}"] if ungrouped else [])]


def _part(clip: Clip) -> str:
    return f"fold {clip.fold}" if clip.fold is not None else clip.split or "train"


def _counts(dataset: AudioDataset) -> dict[str, dict[str, int]]:
    found = Counter((label, _part(clip)) for clip in dataset.clips for label in dataset.task.strata(clip))
    parts = [f"fold {fold}" for fold in dataset.folds]
    parts += [name for name in ("train", "validation", "test") if any(part == name for _, part in found)]
    return {label: {part: found[label, part] for part in parts} for label in dataset.labels}


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    percentile = ordered[math.ceil(0.95 * len(ordered)) - 1]  # as the input length is chosen
    figures = {"min": ordered[0], "median": median(ordered), "percentile_95": percentile, "max": ordered[-1]}
    return {name: round(value, 3) for name, value in figures.items()}


def _sorted_counts(values: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(values).items()))


def _alike(sounds: dict[Clip, Sound]) -> list[list[Clip]]:
    groups: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip, sound in sounds.items():
        groups[sound.digest].append(clip)
    return [group for group in groups.values() if len(group) > 1]


def _names(group: Sequence[Clip]) -> list[str]:
    return [clip.name for clip in group]
