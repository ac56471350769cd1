"""Acoustic fingerprints that survive another encoding, level, rate or start: landmarks of the spectrogram.

The idea is Wang's ("An Industrial-Strength Audio Search Algorithm", ISMIR 2003): the places of local maxima of the spectrogram hardly
change. Three neighbouring maxima make a number, from their frequencies and the times between them; equal numbers at equal distances in two
recordings mean the same sound. Wang takes two maxima. Three are so rarely alike by chance that a search stays linear in the clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d

from astune.data.spectra import power, spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000  # Hz
_WINDOW, _HOP = 1024, 256  # samples: 64 and 16 ms
_BINS = 257  # up to 4 kHz, which every codec and almost every rate keeps
_LOWEST = 4  # bins: 62 Hz, below which there is hum
_LEAST = 1e-6  # of power: 108 dB below a full-scale sine
_FRAMES_AROUND, _BINS_AROUND = (
    3,
    8,
)  # in which a maximum is the largest; measured: more are fewer landmarks, too few for short words
_AHEAD = 3  # landmarks that one is joined with, two at a time
_LONGEST = 63  # frames that three may span
_SHIFTS = (
    4  # of a short clip: the grid of its frames is random, so it is looked up at four offsets of a quarter of a hop
)
_SHORT = 2 * RATE
_LONG = 5 * 60 * RATE  # samples of a recording of which one print in eight is kept, so that hours take megabytes
_LONG_THINNED = 8
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hash: odd, 2^64 over the golden ratio

TICK = _HOP // _SHIFTS / RATE
"""Seconds of a step of :attr:`Prints.times`."""
FRAME_TICKS = _SHIFTS


@dataclass(frozen=True)
class Prints:
    """The fingerprints of one recording."""

    hashes: NDArray[np.uint64]
    """(prints,), under which it is found; each once, and ascending."""
    times: NDArray[np.int32]
    """(prints,), in ticks from its start."""
    sought: NDArray[np.uint64]
    """(sought,), by which others are looked up: more, for short recordings."""
    sought_times: NDArray[np.int32]
    """(sought,), in ticks."""


class Fingerprint:
    """Collects the fingerprints of a recording that comes in blocks; they do not depend on how it is cut.

    Args:
        thinned: one print in so many is kept, a power of two: those whose number it divides, so that copies keep the same ones.
    """

    def __init__(self, thinned: int = 1) -> None:
        self._thinned = thinned
        self._landmarks = _Landmarks()
        self._beginning: list[NDArray[np.float32]] = []
        self._samples = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take account of a block.

        Args:
            samples: (samples,) at 16 kHz.
        """
        self._samples += len(samples)
        if self._samples < _SHORT:
            self._beginning.append(samples)
        else:
            self._beginning.clear()
        self._landmarks.add(samples)

    def prints(self) -> Prints:
        """The fingerprints of all blocks; call it once, after the last one."""
        thinned = max(self._thinned, _LONG_THINNED) if self._samples >= _LONG else self._thinned
        hashes, times = _joined(*self._landmarks.frames_and_bins(), thinned)
        found, first = np.unique(hashes, return_index=True)
        first_times = times[first] * _SHIFTS
        if self._samples >= _SHORT:
            return Prints(found, first_times, found, first_times)
        sought, sought_times = [hashes], [times * _SHIFTS]
        beginning = np.concatenate([np.empty(0, np.float32), *self._beginning])
        for shift in range(1, _SHIFTS):
            shifted = _Landmarks()
            shifted.add(beginning[shift * _HOP // _SHIFTS :])
            hashes, times = _joined(*shifted.frames_and_bins(), thinned)
            sought.append(hashes)
            sought_times.append(times * _SHIFTS + shift)
        return Prints(found, first_times, np.concatenate(sought), np.concatenate(sought_times))


class _Landmarks:
    """Local maxima of the power spectrogram."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.float32)
        self._power = np.empty((0, _BINS), np.float32)
        self._first, self._context = 0, 0  # frame of the first row that is kept; rows of it that were searched before
        self._found: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []

    def add(self, samples: NDArray[np.float32]) -> None:
        joined = np.concatenate([self._rest, samples])
        frames = max(0, (len(joined) - _WINDOW) // _HOP + 1)
        self._rest = joined[frames * _HOP :]
        if frames:
            self._spectra(joined[: (frames - 1) * _HOP + _WINDOW])
            self._search(len(self._power) - _FRAMES_AROUND)

    def frames_and_bins(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Frame and bin of each, by frame, then by bin."""
        if not self._first and not len(self._power):
            self._spectra(np.pad(self._rest, (0, _WINDOW - len(self._rest))))
        self._search(len(self._power))
        times, bins = zip(*self._found, strict=True)
        return np.concatenate(times), np.concatenate(bins)

    def _spectra(self, samples: NDArray[np.float32]) -> None:
        found = power(spectra(samples, _WINDOW, _HOP)[:, :_BINS])
        self._power = np.concatenate([self._power, found])

    def _search(self, end: int) -> None:
        """Search the rows before ``end`` that were not searched before, and keep what the next ones need."""
        if end <= self._context and end < len(self._power):
            return
        rows = self._power
        largest = maximum_filter1d(rows, 2 * _FRAMES_AROUND + 1, axis=0, mode="constant")
        largest = maximum_filter1d(largest, 2 * _BINS_AROUND + 1, axis=1, mode="constant")
        inner = slice(self._context, end)
        times, bins = np.nonzero((rows[inner] == largest[inner]) & (rows[inner] > _LEAST))
        kept = bins >= _LOWEST
        offset = self._first + self._context
        self._found.append(((times[kept] + offset).astype(np.int32), bins[kept].astype(np.int32)))
        dropped = max(0, end - _FRAMES_AROUND)
        self._power, self._first, self._context = rows[dropped:], self._first + dropped, end - dropped


def _joined(
    times: NDArray[np.int32], bins: NDArray[np.int32], thinned: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Numbers of three landmarks, and the frame of the first of them."""
    hashes, anchors = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    for second in range(1, _AHEAD):
        for third in range(second + 1, _AHEAD + 1):
            anchor = slice(0, max(0, len(times) - third))
            middle, last = (slice(ahead, ahead + anchor.stop) for ahead in (second, third))
            between = times[middle] - times[anchor], times[last] - times[anchor]
            number = np.zeros(anchor.stop, np.uint64)
            for value, size in (
                (bins[anchor], 512), (bins[middle], 512), (bins[last], 512), *((frames, 64) for frames in between)
            ):  # fmt: skip
                number = number * np.uint64(size) + (value % size).astype(np.uint64)
            number *= _SPREAD
            kept = (between[1] <= _LONGEST) & (number >> np.uint64(32) & np.uint64(thinned - 1) == 0)
            hashes.append(number[kept])
            anchors.append(times[anchor][kept])
    return np.concatenate(hashes), np.concatenate(anchors)
