"""Which part of a recording is wanted, and which frames are decoded for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.data.samples import SAMPLING_RATE
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

_MARGIN = 0.1  # seconds decoded beyond what is asked for, so that the resampler's edge falls outside,
_MARGIN_FRAMES = 1000  # and at least so many frames, for its filter is counted in them
LATEST = 1e9  # seconds, 31 years; frames are counted in numbers that have room for it at every rate


@dataclass(frozen=True)
class Part:
    """The part of a recording that is wanted."""

    start: float
    """Where the part begins in the recording, in seconds."""
    seconds: float | None
    """Its length at most, in seconds; None for all of the rest."""
    end: float | None
    """Where the clip ends, in seconds; None for the end of the recording."""

    @property
    def wanted(self) -> float | None:
        """Seconds of it; None for all that is there."""
        limits = (self.seconds, None if self.end is None else self.end - self.start)
        return min((limit for limit in limits if limit is not None), default=None)

    def first(self, rate: int, *, margins: bool) -> int:
        """The frame that decoding begins with.

        With a margin it is one that a sample at 16 kHz falls on, so that resampling from there gives the samples that resampling all would.
        """
        if not margins or rate == SAMPLING_RATE:
            return round(self.start * rate)
        grid = rate // math.gcd(rate, SAMPLING_RATE)
        return max(0, math.floor(self.start * rate - _margin(rate)) // grid * grid)

    def frames(self, rate: int, *, margins: bool) -> int | None:
        """How many are decoded; None for all that are there."""
        if self.wanted is None:
            return None
        last = (self.start + self.wanted) * rate
        return (math.ceil(last + _margin(rate)) if margins else round(last)) - self.first(rate, margins=margins)

    def length(self, whole: float) -> float:
        """Seconds of the clip in a file of ``whole`` seconds."""
        if not self.start and self.end is None:
            return whole
        end = whole if self.end is None else min(self.end, whole)
        return round(end - self.start, 9)  # 0.3 - 0.1 is a little less than 0.2

    def used_seconds(self, length: float) -> float:
        """Seconds that are used of a clip of so many."""
        return length if self.seconds is None else min(self.seconds, length)

    def first_seconds(self, length: float) -> str:
        """Words for the part that is used, if that is not the whole of a clip of so many seconds."""
        return f" in its first {self.seconds:.1f} s" if self.seconds is not None and self.seconds < length else ""

    def refuse(self, path: str | Path) -> None:
        """Refuse moments that no recording has.

        Args:
            path: the path of the recording.

        Raises:
            AudioError: the part begins before the recording, ends before it begins, or is later than any recording lasts.
        """
        latest = f"less than {LATEST:,.0f}"
        if not 0 <= float(self.start) < LATEST:
            raise AudioError(
                f"{printable(path)}: start={self.start}; give seconds from the beginning of the file, 0 or more and {latest}"
            )
        if self.seconds is not None and not 0 <= float(self.seconds) < LATEST:
            raise AudioError(f"{printable(path)}: seconds={self.seconds}; give 0 or more and {latest}")
        if self.end is not None and not float(self.start) < float(self.end) < LATEST:
            raise AudioError(
                f"{printable(path)}: end={self.end}; give seconds from the beginning of the file, more than start={self.start} and {latest}"
            )


def _margin(rate: int) -> float:
    return max(_MARGIN * rate, _MARGIN_FRAMES)
