"""How a recording sounds in figures, block by block: level, silence, clipping, and what is above 8 kHz.

- *Level*: RMS in dB of full scale (a full-scale sine has -3.0) of the frames that are not silent, so that padding does not count.
- *Silent*: a frame of 20 ms that is 60 dB below the loudest one, as ``librosa.effects.split`` has it, or below -90 dBFS.
- *Clipped*: a sample at full scale in a run of three or more, as Audacity's "Find Clipping" has it.
- *Above 8 kHz*: share of the power by Welch's method, at the file's own rate. The backbones take 16 kHz, so this is lost to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astune.data.spectra import power, spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

NYQUIST = 8000  # Hz, of the 16 kHz that backbones take
_FULL_SCALE = 1 - 2**-15  # the largest value of 16 bits
_INTEGERS = 2.0  # a larger peak is of integers stored as floats, which have another full scale
_RUN = 3  # samples
_FRAMES_A_SECOND = 50
_BELOW_LOUDEST, _SILENT = 1e-6, 1e-9  # of power: 60 dB below the loudest frame; -90 dBFS
_SEGMENT = 2048  # samples of a spectrum, half of them shared with the next
_STEP = 2**17  # samples whose spectra are computed at a time, which bounds memory


@dataclass(frozen=True)
class Quality:
    """Measured quality of one recording."""

    level_dbfs: float | None
    """RMS of what is not silent, of the mean of the channels; None where everything is."""
    silent_share: float
    """Share of the time that is silent, 0 to 1."""
    clipped_share: float
    """Share of the samples of all channels that are clipped, 0 to 1."""
    above_8_khz_share: float
    """Share of the power above 8 kHz, without the constant part, 0 to 1."""
    power: float
    """Mean square without the constant part, over all frames."""


class QualityMeter:
    """Collects the figures of a recording.

    Args:
        rate: the rate of the recording, in Hz.
        channels: number of channels.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._frame = rate, max(1, rate // _FRAMES_A_SECOND)
        self._rest = np.empty(0, np.float32)
        self._powers: list[NDArray[np.float32]] = []
        self._clipping = [_Clipping() for _ in range(channels)]
        self._samples, self._peak = 0, 0.0
        self._spectrum = _Spectrum(rate) if rate > 2 * NYQUIST else None

    def add(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> None:
        """Take account of a block.

        Args:
            block: (frames, channels).
            mono: (frames,), its mean over channels.
        """
        self._samples += block.size
        peak = max(float(block.max()), -float(block.min()))
        self._peak = max(self._peak, peak)
        for channel, clipping in enumerate(self._clipping):
            clipping.add(block[:, channel], possible=peak >= _FULL_SCALE)
        joined = np.concatenate([self._rest, mono])
        whole = len(joined) // self._frame * self._frame
        self._powers.append(joined[:whole].reshape(-1, self._frame).var(axis=1))
        self._rest = joined[whole:]
        if self._spectrum:
            self._spectrum.add(mono)

    def quality(self) -> Quality:
        """Figures of all blocks; call it once, after the last one."""
        powers = np.concatenate(self._powers).astype(np.float64)
        if not len(powers) or 2 * len(self._rest) >= self._frame:  # half a frame or more counts as one
            powers = np.append(powers, self._rest.var() if len(self._rest) else 0.0)
        sounding = powers[powers > max(_SILENT, _BELOW_LOUDEST * powers.max())]
        return Quality(
            level_dbfs=10 * math.log10(sounding.mean()) if len(sounding) else None,
            silent_share=1 - len(sounding) / len(powers),
            clipped_share=self._clipped() / max(self._samples, 1),
            above_8_khz_share=self._spectrum.share_above(NYQUIST) if self._spectrum and len(sounding) else 0.0,
            power=float(powers.mean()),
        )

    def _clipped(self) -> int:
        return 0 if self._peak > _INTEGERS else sum(clipping.total() for clipping in self._clipping)


class _Clipping:
    """Counts samples of one channel that are at full scale in long enough runs, which blocks may divide."""

    def __init__(self) -> None:
        self._counted = self._open = 0

    def add(self, samples: NDArray[np.float32], *, possible: bool) -> None:
        full = np.abs(samples) >= _FULL_SCALE if possible else np.zeros(1, bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]])))
        starts, ends = edges[::2], edges[1::2]
        lengths = ends - starts
        if self._open and not full[0]:
            self._close()
        elif self._open:
            lengths[0] += self._open
        self._open = 0
        if full[-1]:
            self._open, lengths = int(lengths[-1]), lengths[:-1]
        self._counted += int(lengths[lengths >= _RUN].sum())

    def _close(self) -> None:
        self._counted += self._open if self._open >= _RUN else 0

    def total(self) -> int:
        self._close()
        self._open = 0
        return self._counted


class _Spectrum:
    """Mean power by frequency of samples that come in blocks: the segments are those of the whole recording."""

    def __init__(self, rate: int) -> None:
        self._rate, self._rest = rate, np.empty(0, np.float32)
        self._power = np.zeros(_SEGMENT // 2 + 1)
        self._computed = False

    def add(self, samples: NDArray[np.float32]) -> None:
        for start in range(0, len(samples), _STEP):
            self._rest = np.concatenate([self._rest, samples[start : start + _STEP]])
            if len(self._rest) >= _SEGMENT:
                found = power(spectra(self._rest, _SEGMENT, _SEGMENT // 2))
                self._power += found.sum(axis=0, dtype=np.float64)
                self._rest = self._rest[len(found) * (_SEGMENT // 2) :]
                self._computed = True

    def share_above(self, hertz: float) -> float:
        if not self._computed and len(self._rest):  # shorter than a segment
            samples = self._rest - self._rest.mean()
            self._power += power(spectra(np.pad(samples, (0, _SEGMENT - len(samples))), _SEGMENT, _SEGMENT)[0])
        # A constant part is in the two lowest frequencies, through the window.
        total = float(self._power[2:].sum())
        above = float(self._power[np.arange(len(self._power)) * self._rate / _SEGMENT > hertz].sum())
        return above / total if total > 0 else 0.0
