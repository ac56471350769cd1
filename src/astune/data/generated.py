"""A small labelled data set made with numpy, for the demonstration and for tests: six kinds of sound, no recording.

Each clip draws pitch, rate, level, onset and background noise, so that no two are alike and no single band gives a class away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

from astune.data.audio import SAMPLING_RATE
from astune.keyed import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float64]
    Sound = Callable[[Samples, np.random.Generator], Samples]


def _sweep(t: Samples, start: float, end: float) -> Samples:
    """Exponential glide from one frequency (Hz) to another over the length of t (seconds)."""
    rate = np.log(end / start) / t[-1]
    return np.asarray(np.sin(2 * np.pi * start * np.expm1(rate * t) / rate))


def _rise(t: Samples, draw: np.random.Generator) -> Samples:
    low = draw.uniform(200, 900)
    return _sweep(t, low, low * draw.uniform(2, 4))


def _fall(t: Samples, draw: np.random.Generator) -> Samples:
    return _rise(t, draw)[::-1]


def _warble(t: Samples, draw: np.random.Generator) -> Samples:
    centre, rate, depth = draw.uniform(500, 2000), draw.uniform(4, 9), draw.uniform(0.15, 0.3)
    return np.sin(2 * np.pi * centre * t - centre * depth / rate * np.cos(2 * np.pi * rate * t))


def _buzz(t: Samples, draw: np.random.Generator) -> Samples:
    pitch = draw.uniform(80, 220)
    return 2 * ((pitch * t) % 1) - 1


def _hiss(t: Samples, draw: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(draw.standard_normal(len(t)))
    low = draw.uniform(500, 4000)
    frequencies = np.fft.rfftfreq(len(t), 1 / SAMPLING_RATE)
    return np.fft.irfft(spectrum * ((frequencies > low) & (frequencies < 2 * low)), len(t))


def _knocks(t: Samples, draw: np.random.Generator) -> Samples:
    rate, pitch = draw.uniform(5, 12), draw.uniform(300, 1500)
    phase = (rate * t) % 1 / rate
    return np.exp(-phase * draw.uniform(40, 90)) * np.sin(2 * np.pi * pitch * phase)


SOUNDS: dict[str, Sound] = {
    "buzz": _buzz, "fall": _fall, "hiss": _hiss, "knocks": _knocks, "rise": _rise, "warble": _warble,
}  # fmt: skip


def write_generated(folder: Path, clips_per_class: int = 40, seconds: float = 1.0, seed: int = 0) -> Path:
    """Write the data set in the ``folder`` layout: ``train``, ``validation`` and ``test`` in the ratio 2 : 1 : 1.

    Args:
        folder: made if it is not there.
        clips_per_class: over all splits.
        seconds: length of a clip.
        seed: another seed gives other clips.

    Returns:
        The folder.
    """
    t = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    for label, sound in SOUNDS.items():
        for number in range(clips_per_class):
            split = ("train", "train", "validation", "test")[number % 4]
            target = folder / split / label / f"{number:03d}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(
                target, _clip(sound, t, keyed_generator(seed, label, number)), SAMPLING_RATE, subtype="PCM_16"
            )
    return folder


def _clip(sound: Sound, t: Samples, draw: np.random.Generator) -> Samples:
    """One sound somewhere in a noisy clip; (samples,) within -1 to 1."""
    length = round(len(t) * draw.uniform(0.5, 0.9))
    onset = int(draw.integers(0, len(t) - length + 1))
    body = sound(t[:length], draw) * np.hanning(length) ** 0.25
    clip = draw.standard_normal(len(t)) * 10 ** draw.uniform(-2.5, -1.2)
    clip[onset : onset + length] += body / (np.abs(body).max() + 1e-9)
    return np.asarray(clip / np.abs(clip).max() * 10 ** draw.uniform(-1, -0.1))
