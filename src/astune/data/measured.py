"""Everything that is measured of a clip while it is decoded once, block by block, so that its length costs time and no memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from astune.data.audio import survey
from astune.data.fingerprints import Fingerprint
from astune.data.quality import QualityMeter
from astune.data.streaming import Resampler
from astune.errors import AudioError
from astune.names import FRAME, HOP, samples_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from astune.data.clip import Region
    from astune.data.fingerprints import Prints
    from astune.data.quality import Quality

_STEP = 160_000  # samples at 16 kHz that are looked at at a time, which bounds memory


class FrontEnd(Protocol):
    """The front end of a backbone; :class:`astune.features.FrontEnd` is one."""

    @property
    def mean(self) -> float:
        """Mean of the log-Mel energies that the backbone was pretrained with."""

    @property
    def std(self) -> float:
        """Standard deviation of the log-Mel energies that the backbone was pretrained with."""

    def energies(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-Mel energies (frames, bins) of samples (samples,) at 16 kHz, frames of 25 ms every 10 ms."""


@dataclass(frozen=True)
class EnergySums:
    """Sums of the log-Mel energies of a clip; those of several clips can be added."""

    count: int = 0
    """Number of energies summed: frames times bins."""
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: EnergySums) -> EnergySums:
        return EnergySums(self.count + other.count, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True)
class Measured:
    """What decoding one clip gave."""

    seconds: float
    sampling_rate: int
    channels: int
    digest: str
    """Digest of rate and samples, which finds copies under other names or in other lossless formats."""
    doubts: tuple[str, ...]
    """What is suspicious, see :attr:`astune.data.audio.Facts.doubts`."""
    quality: Quality
    prints: Prints
    energies: EnergySums
    """Nothing where no front end was given."""


def measure(region: Region, front_end: FrontEnd | None, thinned: int = 1) -> Measured | str:
    """Decode a clip and measure it.

    Args:
        region: what is read.
        front_end: front end whose log-Mel energies are summed; by default none are.
        thinned: see :class:`astune.data.fingerprints.Fingerprint`.

    Returns:
        What was measured, or why it cannot be read.
    """
    hearing = _Hearing(front_end, thinned)
    path, start, end = region
    try:
        facts = survey(path, hearing.take, start, end=end, pipes=False, watch=hearing.watch)
    except AudioError as fault:
        return str(fault)
    return hearing.sound(facts.seconds, facts.sampling_rate, facts.channels, facts.doubts)


class _Hearing:
    """Everything that is measured of a clip while it is decoded."""

    def __init__(self, front_end: FrontEnd | None, thinned: int) -> None:
        self._digest, self._prints, self._energies = hashlib.sha256(), Fingerprint(thinned), _Energies(front_end)
        self._meter: QualityMeter | None = None
        self._resampler: Resampler | None = None
        self._block = np.empty((0, 1), np.float32)

    def watch(self, rate: int, block: NDArray[np.float32]) -> None:
        if self._meter is None or self._resampler is None:
            self._meter, self._resampler = QualityMeter(rate, block.shape[1]), Resampler(rate)
        self._block = block

    def take(self, mono: NDArray[np.float32]) -> None:
        self._digest.update(mono.data)
        if self._meter and self._resampler:
            self._meter.add(self._block, mono)
            for samples in self._resampler.add(mono):
                self._hear(samples)

    def _hear(self, samples: NDArray[np.float32]) -> None:
        for start in range(0, len(samples), _STEP):
            self._prints.add(samples[start : start + _STEP])
            self._energies.add(samples[start : start + _STEP])

    def sound(self, seconds: float, rate: int, channels: int, doubts: tuple[str, ...]) -> Measured:
        meter = self._meter or QualityMeter(rate, channels)
        for samples in self._resampler.rest() if self._resampler else ():
            self._hear(samples)
        digest = f"{rate} {self._digest.hexdigest()}"
        return Measured(
            seconds, rate, channels, digest, doubts, meter.quality(), self._prints.prints(), self._energies.sums()
        )


class _Energies:
    """Sums of the log-Mel energies of samples that come in blocks: those of the frames of the whole recording."""

    def __init__(self, front_end: FrontEnd | None) -> None:
        self._front_end, self._rest = front_end, np.empty(0, np.float32)
        self._sums = EnergySums()

    def add(self, samples: NDArray[np.float32]) -> None:
        if self._front_end is None:
            return
        joined = np.concatenate([self._rest, samples])
        frames = max(0, (len(joined) - FRAME) // HOP + 1)
        self._rest = joined[frames * HOP :]
        if frames:
            energies = self._front_end.energies(joined[: samples_of(frames)])
            self._sums += EnergySums(
                energies.size, float(energies.sum(dtype=np.float64)), float(np.square(energies, dtype=np.float64).sum())
            )

    def sums(self) -> EnergySums:
        return self._sums
