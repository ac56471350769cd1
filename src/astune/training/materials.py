"""What augmentations draw from beside the clips of a batch: long recordings whole, background noise, the user's function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.data.digests import UNREADABLE, content_digests
from astune.data.recordings import passed_over
from astune.features.long_cache import LONGEST_HEARD, LongFeatures, build_long_cache, frames_in
from astune.features.waveform_augmentation import described
from astune.plurals import number_of
from astune.printable import printable
from astune.training.augmentation_settings import identity_of_function, identity_of_noise, noise_recordings
from astune.training.heard_clips import HeardClips

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from astune.data import AudioDataset
    from astune.data.recordings import Found
    from astune.features import FeatureCache, FrontEnd
    from astune.features.augmentation import Augmentation
    from astune.features.waveform_augmentation import WaveformFunction
    from astune.training.config import TrainConfig
    from astune.training.data_record import DataRecord
    from astune.training.listening import Listened

_ROUNDING = 0.001  # seconds that a clip may be shorter than the cache says


@dataclass(frozen=True)
class Materials:
    """What augmentations draw from."""

    dataset: AudioDataset
    train: tuple[int, ...]
    """Indices of the training clips."""
    features: FeatureCache
    front_end: FrontEnd
    longer: dict[int, int]
    """Frames of the training clips that are longer than the input, by their index, where they are cropped at random."""
    part: Callable[[int, int], Tensor] | None
    """Gives features of those from a frame on; None where the waveform is read."""
    noise: LongFeatures | None
    waveform: WaveformFunction | None
    identity: dict[str, object]
    """What decides the result and is not in the settings: a digest of the noise, and the function in words."""
    notices: tuple[str, ...]
    """What the user should know."""

    def heard(self, augmentations: Sequence[Augmentation]) -> HeardClips:
        """The clips of the data set as an epoch hears them.

        Args:
            augmentations: that they pass.

        Returns:
            They.
        """
        targets = self.dataset.task.encode(self.dataset.clips, self.dataset.labels)
        return HeardClips(self.features, targets, [clip.name for clip in self.dataset.clips], augmentations)


def materials_of(
    config: TrainConfig,
    dataset: AudioDataset,
    listened: Listened,
    record: DataRecord,
    front_end: FrontEnd,
    waveform: WaveformFunction | None = None,
    *,
    quiet: bool = False,
) -> Materials:
    """Compute what augmentations draw from, or find it in the cache; all processes together.

    Args:
        config: of the run.
        dataset: of the run.
        listened: its features and split.
        record: of its data.
        front_end: that made the features.
        waveform: the user's function.
        quiet: no progress bars.

    Returns:
        The materials.

    Raises:
        AudioError: recordings of noise cannot be read.
        DataError: there are none, or the cache cannot be written.
    """
    notices: list[str] = []
    longer: dict[int, int] = {}
    part = None
    if config.random_crop:
        longer, part = _longer(dataset, listened, front_end, read=waveform is None, quiet=quiet)
        notices.append(_cropped(longer, len(listened.split.train), front_end))
    noise = None
    if config.background_noise is not None:
        found = noise_recordings(config.background_noise)
        noise = build_long_cache(found.paths, front_end, skip_broken=config.skip_broken, quiet=quiet)
        notices += _noise_notices(config, found, noise, record)
    if waveform is not None:
        notices.append(
            f"Note: every epoch decodes the training clips and gives them to {described(waveform)}; their cached features are not used"
        )
    return Materials(
        dataset=dataset,
        train=listened.split.train,
        features=listened.features,
        front_end=front_end,
        longer=longer,
        part=part,
        noise=noise,
        waveform=waveform,
        identity={**identity_of_noise(config), **identity_of_function(waveform)},
        notices=tuple(notices),
    )


def _longer(
    dataset: AudioDataset, listened: Listened, front_end: FrontEnd, *, read: bool, quiet: bool
) -> tuple[dict[int, int], Callable[[int, int], Tensor] | None]:
    """Frames of the training clips that are longer than the input, and what gives their features where they are wanted."""
    seconds = listened.features.seconds
    longer = {clip: frames_in(float(seconds[clip]) - _ROUNDING) for clip in listened.split.train}
    longer = {clip: frames for clip, frames in longer.items() if frames > front_end.max_length}
    if not read or not longer:
        return longer, None
    clips = list(longer)
    whole = build_long_cache(
        [dataset.clips[clip] for clip in clips], front_end, [float(seconds[c]) for c in clips], quiet=quiet
    )
    rows = {clip: row for row, clip in enumerate(clips)}
    counted = {clip: frames for clip, frames in zip(clips, whole.frames, strict=True) if frames > front_end.max_length}

    def part(clip: int, first: int) -> Tensor:
        return whole.part(rows[clip], first)

    return counted, part


def _cropped(longer: dict[int, int], clips: int, front_end: FrontEnd) -> str:
    if not longer:
        return (
            f"Note: random_crop changes nothing: no training clip is longer than the input, {front_end.seconds:.1f} s"
        )
    verb = "is" if len(longer) == 1 else "are"
    capped = sum(frames >= frames_in(LONGEST_HEARD) for frames in longer.values())
    bound = f"; of {number_of(capped, 'clip')} only the first {LONGEST_HEARD:.0f} s are cropped" if capped else ""
    return (
        f"Note: {len(longer):,} of {number_of(clips, 'training clip')} {verb} longer than the input, {front_end.seconds:.1f} s, and each "
        f"epoch hears another part of them{bound}; clips are scored by their beginning"
    )


def _noise_notices(config: TrainConfig, found: Found, noise: LongFeatures, record: DataRecord) -> list[str]:
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
    capped = sum(frames >= frames_in(LONGEST_HEARD) for frames in noise.frames)
    if capped:
        notices.append(
            f"Note: background_noise: of {number_of(capped, 'recording')} only the first {LONGEST_HEARD:.0f} s are used"
        )
    used = {clip.content: (name, clip.split) for name, clip in record.clips.items() if clip.content != UNREADABLE}
    shared = [used[content] for content in content_digests(found.paths) if content in used]
    if shared:
        name, split = shared[0]
        verb = "is" if len(shared) == 1 else "are"
        notices.append(
            f"Warning: {len(shared):,} of {number_of(len(found.files), 'recording')} of {folder} {verb} in the data too, such as "
            f"{printable(name)} ({split}): as noise it teaches that its label does not matter"
        )
    return notices
