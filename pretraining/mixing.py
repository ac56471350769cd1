"""Training examples out of the corpus: placed, stretched, coloured, buried in noise, mixed; all on log-Mel energies.

Adding sounds is ``logaddexp`` of their energies. An example of step s depends on (seed, s) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from typing_extensions import override

from astune.backbone.backbone import AUDIOSET_MEAN, AUDIOSET_STD
from astune.keyed import keyed_generator
from pretraining.corpus import SOUND_FRAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pretraining.corpus import Corpus, Part

    Energies = NDArray[np.float32]
    Draw = np.random.Generator

SILENCE = float(np.log(np.finfo(np.float32).eps))  # what the front end makes of digital silence
BINS = 128
_WORDS_AT_MOST = {98: 1, 198: 2, 498: 4}  # in an example of so many frames


class Batch(NamedTuple):
    """Examples of one length."""

    features: torch.Tensor
    """(batch, frames, 128), normalised as the front end does."""
    targets: torch.Tensor
    """(batch, classes), each row the shares of its labels."""
    step: int
    """Keys what else is random in the step."""


@dataclass(frozen=True)
class MixConfig:
    """What batches look like."""

    frames: tuple[int, ...] = (98, 198, 498)
    """Lengths; a batch has one of them."""
    frame_shares: tuple[float, ...] = (0.78, 0.14, 0.08)
    """How often each."""
    batch_sizes: tuple[int, ...] = (32, 16, 8)
    """Of each length."""
    keywords: float = 0.38
    """Share of examples that start from a real keyword."""
    words: float = 0.36
    """From a synthesised word; the rest are sounds."""


def normalised(energies: NDArray[np.float32]) -> NDArray[np.float32]:
    """As the front end has it, (x - mean) / (2 std)."""
    return (energies - np.float32(AUDIOSET_MEAN)) / np.float32(2 * AUDIOSET_STD)


class Mixer(Dataset[Batch]):
    """Batches by step.

    Args:
        corpus: what to mix.
        config: how.
        seed: of every draw.
    """

    def __init__(self, corpus: Corpus, config: MixConfig, seed: int) -> None:
        self.corpus, self.config, self.seed = corpus, config, seed
        self.parts: tuple[Part, ...] = (corpus.keywords, corpus.words, corpus.sounds)
        self.first_label = np.cumsum([0, *(len(part.names) for part in self.parts)])
        self.shares = (config.keywords, config.words, 1 - config.keywords - config.words)

    @override
    def __getitem__(self, step: int) -> Batch:
        draw = keyed_generator(self.seed, "batch", step)
        which = draw.choice(len(self.config.frames), p=self.config.frame_shares)
        frames, size = self.config.frames[which], self.config.batch_sizes[which]
        features = np.empty((size, frames, BINS), np.float32)
        targets = np.zeros((size, self.corpus.classes), np.float32)
        for row in range(size):
            features[row] = self._example(draw, frames, targets[row])
        if draw.random() < 0.35:
            _mix_up(draw, features, targets)
        features = normalised(features)
        for example in features:
            _mask(draw, example)
        return Batch(torch.from_numpy(features), torch.from_numpy(targets), step)

    def _example(self, draw: Draw, frames: int, target: NDArray[np.float32]) -> Energies:
        canvas = np.full((frames, BINS), SILENCE, np.float32)
        end = frames
        part = draw.choice(3, p=self.shares)
        if part == 2:
            clip, label = self._sound(draw, frames)
            canvas[: len(clip)] = clip
            target[label] = 1
        else:
            end = self._speech(draw, part, canvas, target)
        canvas = self._channel(draw, canvas)
        # The front end fills clips up with zeros before it normalises: louder than silence.
        if part != 2 and end < frames - 3 and draw.random() < 0.35:
            canvas[end:] = 0
        elif frames > 98 and draw.random() < 0.12:
            canvas[int(frames * draw.uniform(0.3, 0.95)) :] = 0
        return canvas

    def _speech(self, draw: Draw, part: int, canvas: Energies, target: NDArray[np.float32]) -> int:
        """Put one or several words, or one several times, onto the canvas.

        Returns:
            The frame behind the last of them.
        """
        frames = len(canvas)
        count = int(draw.integers(1, _WORDS_AT_MOST[frames] + 1))
        same, end = draw.random() < 0.3, 0
        clip, label = self._word(draw, part)
        for number in range(count):
            if number and not same:
                clip, label = self._word(draw, int(draw.integers(2)))
            room, slack = max(0, frames - len(clip)), 15 if frames == 98 else 5
            start = max(int(draw.integers(-slack, room + slack + 1)), -(len(clip) // 2))
            gain = draw.uniform(-1.5, 1.5) if count > 1 else 0.0
            shown = canvas[max(0, start) : start + len(clip)]
            offset = max(0, -start)
            np.logaddexp(shown, clip[offset : offset + len(shown)] + np.float32(gain), out=shown)
            target[label] += 1 / count
            end = max(end, start + len(clip))
        return end

    def _word(self, draw: Draw, part: int) -> tuple[Energies, int]:
        source = self.parts[part]
        row = int(draw.integers(len(source.labels)))
        clip = source.features[row, : source.lengths[row]].astype(np.float32)
        if draw.random() < 0.8:
            clip = _stretched(draw, clip)
            clip = _warped(draw, clip)
        return clip, int(self.first_label[part] + source.labels[row])

    def _sound(self, draw: Draw, frames: int) -> tuple[Energies, int]:
        source = self.corpus.sounds
        row, frames = int(draw.integers(len(source.labels))), min(frames, SOUND_FRAMES)
        start = int(draw.integers(SOUND_FRAMES - frames + 1))
        clip = source.features[row, start : start + frames].astype(np.float32)
        if draw.random() < 0.25:
            clip = _warped(draw, _stretched(draw, clip)[:frames])
        return clip, int(self.first_label[2] + source.labels[row])

    def _channel(self, draw: Draw, x: Energies) -> Energies:
        """Level, colour, noise and bandwidth of a recording."""
        x = x + np.float32(draw.uniform(-3, 2.5))
        if draw.random() < 0.5:
            x += _colour(draw, 0.8)
        peak = np.float32(np.quantile(x, 0.97))
        if draw.random() < 0.5:
            noise = self._noise(draw, len(x))
            distance = draw.uniform(0, 7) * draw.uniform(0.4, 1) + 0.3  # 1.3 to 32 dB
            x = np.logaddexp(x, noise - np.float32(np.quantile(noise, 0.9)) + peak - np.float32(distance))
        else:
            floor = draw.normal(peak - draw.uniform(5, 12), 0.5, x.shape)
            x = np.logaddexp(x, floor.astype(np.float32))
        if draw.random() < 0.25:  # telephone bandwidth, or a codec's
            cut = int(draw.integers(60, 125))
            rest = draw.normal(draw.uniform(SILENCE, -11), 0.3, (len(x), BINS - cut))
            x[:, cut:] = np.minimum(x[:, cut:], rest)
        return np.asarray(np.maximum(x, np.float32(SILENCE)))

    def _noise(self, draw: Draw, frames: int) -> Energies:
        if draw.random() < 0.5 or frames > SOUND_FRAMES:
            # The energies of Gaussian noise are exponentially distributed, their logarithms Gumbel's with the sign turned.
            slope = draw.uniform(-0.03, 0.03) * np.arange(BINS)
            return (_colour(draw, 2.0) + slope - draw.gumbel(0, 0.6, (frames, BINS))).astype(np.float32)
        row, start = int(draw.integers(len(self.corpus.sounds.labels))), int(draw.integers(SOUND_FRAMES - frames + 1))
        return self.corpus.sounds.features[row, start : start + frames].astype(np.float32)


def _colour(draw: Draw, spread: float) -> Energies:
    """A smooth curve over the Mel bins."""
    knots = np.linspace(0, BINS - 1, 7)
    return np.interp(np.arange(BINS), knots, draw.normal(0, spread, 7)).astype(np.float32)


def _stretched(draw: Draw, x: Energies) -> Energies:
    """Faster or slower, pitch kept."""
    speed = draw.uniform(0.85, 1.18)
    moments = (np.arange(max(1, int(len(x) / speed))) * speed).astype(int)
    return np.asarray(x[np.minimum(moments, len(x) - 1)])


def _warped(draw: Draw, x: Energies) -> Energies:
    """Moved along frequency, as by another vocal tract."""
    positions = np.clip(np.arange(BINS) * draw.uniform(0.9, 1.12), 0, BINS - 1.01)
    below = positions.astype(int)
    share = (positions - below).astype(np.float32)
    return np.asarray(x[:, below] * (1 - share) + x[:, below + 1] * share)


def _mix_up(draw: Draw, features: Energies, targets: NDArray[np.float32]) -> None:
    """Add the second half of the batch, in reverse, to its first half; labels share by loudness."""
    half = len(features) // 2
    gain = draw.uniform(-2, 2, (half, 1)).astype(np.float32)
    share = 1 / (1 + np.exp(0.7 * gain))
    features[:half] = np.logaddexp(features[:half], features[half : 2 * half][::-1] + gain[:, :, None])
    targets[:half] = share * targets[:half] + (1 - share) * targets[half : 2 * half][::-1]


def _mask(draw: Draw, row: Energies) -> None:
    """SpecAugment: at most one band and one stretch of time set to zero."""
    if draw.random() < 0.5:
        width = int(draw.integers(4, 28))
        start = int(draw.integers(0, BINS - width))
        row[:, start : start + width] = 0
    if draw.random() < 0.5:
        width = int(draw.integers(4, max(5, len(row) // 6)))
        start = int(draw.integers(0, len(row) - width))
        row[start : start + width] = 0
