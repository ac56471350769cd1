"""What augmentations draw from beside the clips of a batch: long recordings whole, background noise, the user's function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.data.digests import UNREADABLE, content_digests
from astune.data.recordings import passed_over
from astune.data.splits import SPLITS
from astune.features.long_cache import LONGEST_USED, LongFeatures, build_long_cache, frames_in
from astune.features.time_shift import TimeShift
from astune.features.waveform_augmentation import describe_function
from astune.plurals import number_of
from astune.printable import printable
from astune.training.augmentation_settings import noise_recordings, settings_key_of_function, settings_key_of_noise
from astune.training.sampler import Sampler
from astune.training.training_clips import TrainingClips

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from astune.data import AudioDataset, Split
    from astune.data.recordings import Found
    from astune.features import FeatureCache, FrontEnd
    from astune.features.augmentation import Augmentation
    from astune.features.waveform_augmentation import WaveformFunction
    from astune.training.config import TrainConfig

_ROUNDING = 0.001  # seconds that a clip may be shorter than the cache says


@dataclass(frozen=True)
class Materials:
    """What augmentations draw from."""

    dataset: AudioDataset
    sampler: Sampler
    """Which training clips each epoch visits."""
    features: FeatureCache
    front_end: FrontEnd
    longer: dict[int, int]
    """Frames of the training clips that are longer than the input, by their index, where they are cropped at random."""
    part: Callable[[int, int], Tensor] | None
    """Gives features of those from a frame on; None where the waveform is read."""
    noise: LongFeatures | None
    waveform: WaveformFunction | None
    beside_settings: dict[str, object]
    """What decides the result and is not in the settings: a digest of the noise, and the function in words."""
    notices: tuple[str, ...]
    """What the user should know."""

    def training_clips(self, augmentations: Sequence[Augmentation]) -> TrainingClips:
        """The clips of the data set as an epoch uses them.

        Args:
            augmentations: that they pass.

        Returns:
            The clips, with their targets.
        """
        targets = self.dataset.task.encode(self.dataset.clips, self.dataset.labels)
        return TrainingClips(self.features, targets, self.sampler.names, augmentations)


def materials_of(
    config: TrainConfig,
    dataset: AudioDataset,
    split: Split,
    features: FeatureCache,
    front_end: FrontEnd,
    waveform: WaveformFunction | None = None,
    *,
    quiet: bool = False,
) -> Materials:
    """Compute what augmentations draw from, or find it in the cache; all processes together.

    Args:
        config: of the run.
        dataset: of the run.
        split: without the clips that cannot be read.
        features: of the data set.
        front_end: that made them.
        waveform: the user's function.
        quiet: no progress bars.

    Returns:
        The materials.

    Raises:
        AudioError: recordings of noise cannot be read.
        ConfigError: clips would be shifted by more than the input.
        DataError: there is no noise.
        OutputError: the cache cannot be written.
    """
    TimeShift(config.time_shift, front_end.max_length, config.seed)
    notices: list[str] = []
    longer: dict[int, int] = {}
    part = None
    if config.random_crop:
        longer, part = _longer(dataset, split, features, front_end, read=waveform is None, quiet=quiet)
        notices.append(_cropped(longer, len(split.train), front_end))
    noise = None
    if config.background_noise is not None:
        found = noise_recordings(config.background_noise)
        noise = build_long_cache(found.paths, front_end, skip_broken=config.skip_broken, quiet=quiet)
        notices += _noise_notices(config, found, noise, dataset, split)
    if waveform is not None:
        name = describe_function(waveform).partition("(")[0].rstrip()
        notices.append(
            f"Note: every epoch decodes the training clips and gives them to {name}; their cached features are not used"
        )
    return Materials(
        dataset=dataset,
        sampler=Sampler(config.sampler, dataset, split.train, config.seed),
        features=features,
        front_end=front_end,
        longer=longer,
        part=part,
        noise=noise,
        waveform=waveform,
        beside_settings={**settings_key_of_noise(config), **settings_key_of_function(waveform)},
        notices=tuple(notices),
    )


def _longer(
    dataset: AudioDataset, split: Split, features: FeatureCache, front_end: FrontEnd, *, read: bool, quiet: bool
) -> tuple[dict[int, int], Callable[[int, int], Tensor] | None]:
    """Frames of the training clips that are longer than the input, and what gives their features where they are wanted.

    All clips of the data set are computed, not those that train alone: folds and draws then share them.
    """
    seconds = [float(length) for length in features.seconds]
    frames = {clip: frames_in(length - _ROUNDING) for clip, length in enumerate(seconds) if clip not in features.broken}
    clips = [clip for clip, number in frames.items() if number > front_end.max_length]
    part = None
    if read and clips:
        some, lengths = [dataset.clips[clip] for clip in clips], [seconds[clip] for clip in clips]
        whole = build_long_cache(some, front_end, lengths, quiet=quiet)
        frames |= dict(zip(clips, whole.frames, strict=True))
        rows = {clip: row for row, clip in enumerate(clips)}

        def part(clip: int, first: int) -> Tensor:
            return whole.part(rows[clip], first)

    return {clip: frames[clip] for clip in split.train if frames[clip] > front_end.max_length}, part


def _cropped(longer: dict[int, int], clips: int, front_end: FrontEnd) -> str:
    if not longer:
        return (
            f"Note: random_crop changes nothing: no training clip is longer than the input, {front_end.seconds:.1f} s"
        )
    verb = "is" if len(longer) == 1 else "are"
    capped = sum(frames >= frames_in(LONGEST_USED) for frames in longer.values())
    bound = f"; of {number_of(capped, 'clip')} only the first {LONGEST_USED:.0f} s are cropped" if capped else ""
    return (
        f"Note: {len(longer):,} of {number_of(clips, 'training clip')} {verb} longer than the input, {front_end.seconds:.1f} s, and each "
        f"epoch hears another part of them{bound}; clips are scored by their beginning"
    )


def _noise_notices(
    config: TrainConfig, found: Found, noise: LongFeatures, dataset: AudioDataset, split: Split
) -> list[str]:
    """What there is to say of the noise: what was passed over, cannot be read, is cut, or is in the data too."""
    folder = printable(str(config.background_noise))
    notices = [f"Note: background_noise: {one.sentence}" for one in passed_over(found.skipped)]
    if noise.broken:
        first = noise.broken[min(noise.broken)]
        verb = "is" if len(noise.broken) == 1 else "are"
        notices.append(
            f"Note: background_noise: {len(noise.broken):,} of {number_of(len(found.files), 'audio file')} cannot be read and {verb} left "
            f"out: {first}{' and others' if len(noise.broken) > 1 else ''}"
        )
    capped = sum(frames >= frames_in(LONGEST_USED) for frames in noise.frames)
    if capped:
        notices.append(
            f"Note: background_noise: of {number_of(capped, 'recording')} only the first {LONGEST_USED:.0f} s are used"
        )
    clips = [(dataset.clips[clip], name) for name in SPLITS for clip in split.named(name)]
    contents = content_digests([clip.path for clip, _ in clips])
    used = dict(zip(contents, clips, strict=True))
    shared = [used[content] for content in content_digests(found.paths) if content in used and content != UNREADABLE]
    if shared:
        clip, name = shared[0]
        verb = "is" if len(shared) == 1 else "are"
        notices.append(
            f"Warning: {len(shared):,} of {number_of(len(found.files), 'recording')} of {folder} {verb} in the data too, such as "
            f"{printable(clip.name)} ({name}): as noise it teaches that its label does not matter"
        )
    return notices
