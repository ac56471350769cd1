"""Levels of a recording, block by block, and what is unusual of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SILENT = "digital silence"
CONSTANT = "one value throughout"
CANCELLED = "channels that cancel out"
QUIET = "very quiet"
LOUD = "far outside of -1 to 1"
"""Kinds of doubt; each is followed by a colon and figures."""

_PEAK_USUAL = 2.0  # beyond it are integers stored as floats; clipped recordings and lossy codecs stay below
_PEAK_QUIET = 1e-3  # -60 dBFS
_CANCELLING = 0.01  # of two channels' power left in their mean: 20 dB below


def peak_of(block: NDArray[np.float32]) -> float:
    """Largest magnitude in a block.

    Args:
        block: any shape.

    Returns:
        NaN where one of its values is.
    """
    return max(float(block.max()), -float(block.min()))


class Levels:
    """Extremes and powers over all blocks."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.low, self.high = math.inf, -math.inf
        self.power = self.mixed_power = 0.0

    def add(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> None:
        """Take account of a block.

        Args:
            block: (frames, channels).
            mono: its mean over channels.
        """
        self.peak = max(self.peak, peak_of(block))
        self.low, self.high = min(self.low, float(mono.min())), max(self.high, float(mono.max()))
        if block.shape[1] > 1:
            self.power += float(np.einsum("ij,ij->", block, block)) / block.shape[1]
            self.mixed_power += float(np.einsum("i,i->", mono, mono))

    def doubts(self, channels: int) -> list[str]:
        """What is unusual of all blocks so far.

        Args:
            channels: channels of the recording.

        Returns:
            Kinds and figures; none for ordinary recordings.
        """
        if self.peak == 0:
            return [f"{SILENT}: every sample is 0"]
        found = []
        if self.peak > _PEAK_USUAL:
            found.append(f"{LOUD}: its peak is {self.peak:,.6g}; integers stored as floats?")
        # Independent channels leave 1 / channels of their power in the mean.
        if channels > 1 and self.mixed_power < _CANCELLING * 2 / channels * self.power:
            kept = 10 * math.log10(max(self.mixed_power, 1e-20) / self.power)
            return [*found, f"{CANCELLED}: their mean is {-kept:.0f} dB below them"]
        peak = max(self.high, -self.low)
        if self.low == self.high:
            found.append(f"{CONSTANT}: {self.low:.6g}")
        elif peak < _PEAK_QUIET:
            found.append(f"{QUIET}: its peak is {20 * math.log10(peak):.0f} dBFS")
        return found
