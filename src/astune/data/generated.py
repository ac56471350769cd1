"""Two small labelled data sets made with numpy, for the demonstration and for tests; no recording is used.

``environment`` has sounds that differ in how they go on: a ball's bounces come closer, a bottle's note climbs as it fills.
``words`` has invented words from a formant synthesiser, in pairs of the same syllables in another order. Speakers, pitches, speeds,
rooms, levels and noises vary, so that no band gives a class away. The kinds are not those that the bundled backbone was pretrained with
(``pretraining/``).
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
from scipy.signal import fftconvolve, istft, stft

from astune.data.audio import SAMPLING_RATE
from astune.data.splits import SPLITS
from astune.errors import ConfigError, explain_write_errors, unknown_choice
from astune.keyed import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Samples = NDArray[np.float64]
    Draw = np.random.Generator
    Sound = Callable[[int, Draw], Samples]


def write_generated(
    folder: str | Path,
    task: str = "environment",
    clips_per_class: tuple[int, int, int] = (8, 3, 25),
    seconds: float = 0.5,
    seed: int = 0,
) -> Path:
    """Write a data set in the ``folder`` layout, with ``train``, ``validation`` and ``test``.

    Args:
        folder: made if it is not there.
        task: name of the task, one of :data:`TASKS`.
        clips_per_class: to train on, to validate on, to test on.
        seconds: length of a clip.
        seed: another seed gives other clips.

    Returns:
        The folder.

    Raises:
        ConfigError: the task is unknown.
        OutputError: the folder cannot be written.
    """
    if task not in TASKS:
        raise ConfigError(unknown_choice("task", task, TASKS))
    folder = Path(folder)
    splits = [split for split, clips in zip(SPLITS, clips_per_class, strict=True) for _ in range(clips)]
    for label, sound in TASKS[task].items():
        for number, split in enumerate(splits):
            target = folder / split / label / f"{number:03d}.wav"
            clip = _clip(sound, round(seconds * SAMPLING_RATE), keyed_generator(seed, task, label, number))
            coded = io.BytesIO()  # libsndfile says of no file why it cannot be written
            soundfile.write(coded, clip, SAMPLING_RATE, subtype="PCM_16", format="WAV")
            with explain_write_errors(target, "make room, or give another folder"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(coded.getvalue())
    return folder


def _clip(sound: Sound, n: int, draw: Draw) -> Samples:
    """One sound in some room, somewhere in a noisy clip; (n,) within -1 to 1."""
    length = round(n * draw.uniform(0.65, 0.95))
    onset = int(draw.integers(0, n - length + 1))
    clip = np.zeros(n)
    clip[onset : onset + length] = sound(length, draw)
    room = draw.standard_normal(round(0.2 * SAMPLING_RATE))
    room *= np.exp(-np.arange(len(room)) / SAMPLING_RATE / draw.uniform(0.01, 0.05))
    clip += draw.uniform(0, 0.5) * fftconvolve(clip, room / np.linalg.norm(room))[:n]
    noise = np.fft.rfft(draw.standard_normal(n)) * np.arange(1, n // 2 + 2) ** -draw.uniform(0, 0.7)
    background = np.fft.irfft(noise, n)
    clip += background * np.sqrt(np.mean(clip**2) / np.mean(background**2)) * 10 ** -draw.uniform(0.2, 1.2)
    return np.asarray(clip / np.abs(clip).max() * 10 ** draw.uniform(-1, -0.1))


def _shaped(source: Samples, gain: Callable[[Samples, Samples], Samples]) -> Samples:
    """A source through a filter that changes with time.

    ``gain`` takes frequencies (bins, 1) in Hz and moments (1, frames) in seconds, and gives (bins, frames).
    """
    frequencies, moments, spectrum = stft(source, SAMPLING_RATE, nperseg=256, noverlap=192)
    return np.asarray(istft(spectrum * gain(frequencies[:, None], moments[None]), noverlap=192)[1][: len(source)])


# Words: glottal pulses and noise through moving formants


class _Phone(NamedTuple):
    """A stretch of speech with steady targets; frequencies in Hz, of a male speaker."""

    length: float
    """Share of the word, before all are scaled to fill it."""
    voice: float
    noise: float
    centre: float
    """Centre frequency of the noise."""
    first: float
    second: float
    third: float
    """Formants."""


_PHONES: dict[str, tuple[_Phone, ...]] = {
    "a": (_Phone(3, 1, 0, 2000, 730, 1090, 2440),),
    "e": (_Phone(3, 1, 0, 2000, 530, 1840, 2480),),
    "i": (_Phone(3, 1, 0, 2000, 270, 2290, 3010),),
    "o": (_Phone(3, 1, 0, 2000, 570, 840, 2410),),
    "u": (_Phone(3, 1, 0, 2000, 300, 870, 2240),),
    "b": (_Phone(1, 0.1, 0, 900, 200, 800, 2200), _Phone(0.4, 0.3, 0.5, 900, 300, 900, 2200)),
    "k": (_Phone(1, 0, 0, 1800, 250, 1800, 2300), _Phone(0.4, 0, 1, 1800, 300, 1800, 2300)),
    "t": (_Phone(1, 0, 0, 4200, 250, 1750, 2700), _Phone(0.4, 0, 1, 4200, 300, 1750, 2700)),
    "m": (_Phone(1.4, 0.4, 0, 2000, 250, 950, 2200),),
    "n": (_Phone(1.4, 0.4, 0, 2000, 250, 1600, 2600),),
    "s": (_Phone(1.6, 0, 0.5, 5200, 250, 1700, 2600),),
}  # vowels: means of men in Peterson and Barney (1952); stops are a closure and a burst
_GLIDE = np.hanning(9)[1:-1] / np.hanning(9).sum()  # over neighbouring targets, in frames of 4 ms


def _word(spelling: str, n: int, draw: Draw) -> Samples:
    """A speaker says a word."""
    phones = np.array([phone for letter in spelling for phone in _PHONES[letter]])
    ends = np.cumsum(phones[:, 0] * draw.uniform(0.8, 1.25, len(phones)))
    ends *= n / SAMPLING_RATE / ends[-1]
    phones[:, 3:] *= draw.uniform(0.85, 1.2)  # a shorter vocal tract, higher resonances

    def tracks(moments: Samples) -> list[Samples]:
        """Voice, noise, its centre and three formants, (1, frames) each."""
        phone_at = np.minimum(np.searchsorted(ends, moments[0]), len(ends) - 1)
        return [np.convolve(np.pad(target[phone_at], 3, "edge"), _GLIDE, "valid")[None] for target in phones.T[1:]]

    def mouth(f: Samples, t: Samples) -> Samples:
        voice, _, _, *formants = tracks(t)
        gain = voice / (1 + f / 700)
        for formant in formants:
            gain = gain * formant**2 / np.hypot(formant**2 - f**2, (60 + 0.06 * formant) * f)
        return gain

    def constriction(f: Samples, t: Samples) -> Samples:
        _, noise, centre, *_ = tracks(t)
        return np.asarray(noise * np.exp(-((2 * np.log2((f + 1) / centre)) ** 2)))

    pitch = 85 * 3 ** draw.random() * 2 ** (draw.uniform(-0.5, 0.3) * np.linspace(0, 1, n))
    pulses = np.diff(np.floor(np.cumsum(pitch) / SAMPLING_RATE), prepend=0.0)
    voiced = _shaped(pulses + 0.02 * draw.standard_normal(n), mouth)
    rustle = _shaped(draw.standard_normal(n), constriction)
    loudest = max(float(np.abs(rustle).max()), 1e-9)  # no frame of a very short word need fall into a burst
    return np.asarray(voiced / np.abs(voiced).max() + draw.uniform(0.3, 1) * rustle / loudest)


# The environment


def _ring(frequencies: Samples, seconds: float, draw: Draw) -> Samples:
    """Decaying partials at ``frequencies`` (Hz), struck together."""
    t = np.arange(round(6 * seconds * SAMPLING_RATE)) / SAMPLING_RATE
    partials = np.sin(2 * np.pi * frequencies[:, None] * t) * draw.uniform(0.3, 1, (len(frequencies), 1))
    return np.asarray(partials.sum(0) * np.exp(-t / seconds))


def _struck(n: int, moments: Samples, strengths: Samples, event: Samples) -> Samples:
    """The same event at moments (samples), each time with another strength."""
    strikes = np.zeros(n)
    inside = moments < n
    np.add.at(strikes, moments[inside].astype(int), strengths[inside])
    return np.asarray(fftconvolve(strikes, event)[:n])


def _pulses(rates: Samples, jitter: float, draw: Draw) -> Samples:
    """Moments (samples) of events that come at rates (Hz, one a sample), with a relative jitter of their strength and time."""
    phase = np.cumsum(rates) / SAMPLING_RATE
    moments = np.flatnonzero(np.diff(np.floor(phase), prepend=-1.0))
    return np.abs(moments + jitter * SAMPLING_RATE / rates[moments] * draw.standard_normal(len(moments)))


def _bouncing_ball(n: int, draw: Draw) -> Samples:
    bounce = draw.uniform(0.6, 0.85) ** np.arange(40)
    moments = np.concatenate([[0.0], np.cumsum(bounce)])
    moments *= n * draw.uniform(0.7, 0.95) / moments[-1]
    thud = _ring(draw.uniform(150, 900) * draw.uniform(1, 4, 4), draw.uniform(0.006, 0.02), draw)
    return _struck(n, moments, np.r_[1.0, bounce], thud)


def _coin_spin(n: int, draw: Draw) -> Samples:
    """Euler's disk: it rattles ever faster, and ever softer, until it stops."""
    left = np.maximum(1 - np.arange(n) / n / draw.uniform(0.75, 1), 1e-3)
    moments = _pulses(np.minimum(draw.uniform(7, 14) * left ** -draw.uniform(0.4, 0.8), 150), 0.03, draw)
    clink = _ring(draw.uniform(700, 2500) * draw.uniform(1, 3, 5), draw.uniform(0.006, 0.03), draw)
    return _struck(n, moments, left[np.minimum(moments.astype(int), n - 1)] ** 0.7, clink)


def _creaking_door(n: int, draw: Draw) -> Samples:
    """Stick and slip: an uneven pulse train whose rate wanders, on a board's resonances."""
    wander = np.interp(np.linspace(0, 4, n), np.arange(5), draw.uniform(-1, 1, 5))
    moments = _pulses(draw.uniform(30, 70) * 2**wander, 0.12, draw)
    board = _ring(draw.uniform(300, 900) * draw.uniform(1, 5, 6), draw.uniform(0.002, 0.006), draw)
    return _struck(n, moments, draw.uniform(0.4, 1, len(moments)), board)


def _filling_bottle(n: int, draw: Draw) -> Samples:
    """Noise on a resonance that climbs as the air above the water grows short."""
    empty, ratio, width = draw.uniform(250, 900), draw.uniform(2, 4), draw.uniform(0.04, 0.2)
    seconds = n / SAMPLING_RATE

    def neck(f: Samples, t: Samples) -> Samples:
        note = empty * ratio ** (t / seconds)
        return np.asarray(0.05 + 1 / (1 + ((f / note - note / (f + 1)) / width) ** 2))

    return _shaped(draw.standard_normal(n), neck)


def _frog_chorus(n: int, draw: Draw) -> Samples:
    """Two or three frogs, each with croaks of its own rate: short trains of even pulses."""
    chorus = np.zeros(n)
    for _ in range(draw.integers(2, 4)):
        moments = _pulses(np.full(n, draw.uniform(35, 90)), 0.02, draw)
        croak = 0.5 + 0.5 * np.sin(2 * np.pi * (draw.uniform(3.5, 7) * moments / SAMPLING_RATE + draw.random()))
        throat = _ring(draw.uniform(400, 1800) * draw.uniform(1, 2.5, 3), draw.uniform(0.003, 0.008), draw)
        chorus += draw.uniform(0.4, 1) * _struck(n, moments, croak**2, throat)
    return chorus


def _zip(n: int, draw: Draw) -> Samples:
    """Teeth that close ever faster, then slower, as a hand pulls."""
    position = np.linspace(0, 1, n)
    pull = np.sin(np.pi * position ** draw.uniform(0.6, 1.6))
    moments = _pulses(30 + draw.uniform(90, 300) * pull, 0.05, draw)
    tooth = _ring(draw.uniform(500, 2000) * draw.uniform(1, 4, 6), draw.uniform(0.001, 0.003), draw)
    return _struck(n, moments, 0.2 + pull[np.minimum(moments.astype(int), n - 1)], tooth)


TASKS: dict[str, dict[str, Sound]] = {
    "words": {word: partial(_word, word) for word in ("tami", "mita", "sone", "neso", "kubo", "boku")},
    "environment": {
        "bouncing_ball": _bouncing_ball, "coin_spin": _coin_spin, "creaking_door": _creaking_door,
        "filling_bottle": _filling_bottle, "frog_chorus": _frog_chorus, "zip": _zip,
    },
}  # fmt: skip
"""Sounds by name; the function of a class takes a number of samples and a random generator."""
