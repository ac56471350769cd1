"""What samples may be, in a file or in memory: their rate, their range, their type."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from astune.data.levels import peak_of
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLING_RATE = 16_000  # Hz, of the samples that the model takes
_LOUDEST = 1e10  # beyond this float32 cannot hold the power of a frame; integers stored as floats stay below
_SLOWEST = 40  # Hz; the lowest Mel filter begins at half of it, and each sample would become hundreds
_FASTEST = 10_000_000  # Hz; hydrophones have a tenth of it, and the resampler's time grows with it: at 2 GHz, 2 s for a million samples
_MOST_CHANNELS = 1_024  # as libsndfile has it, and PyAV does not; the largest arrays of microphones have as many


def refuse_rate(rate: int, stated: str, name: str | Path) -> None:
    """Refuse a rate, in Hz, that is too low for any sound, or that no file has.

    Args:
        rate: the rate of the recording.
        stated: who says so, as the beginning of a sentence.
        name: the name of the recording.

    Raises:
        AudioError: it is too low or too high.
    """
    if rate < _SLOWEST:
        raise AudioError(
            f"{printable(name)}: {stated} {rate} samples a second; a rate below {_SLOWEST} holds nothing to hear"
        )
    if rate > _FASTEST:
        raise AudioError(
            f"{printable(name)}: {stated} {rate} samples a second; a recording may have from {_SLOWEST} to {_FASTEST:,}"
        )


def refuse_channels(channels: int, name: str | Path) -> None:
    """Refuse a number of channels that no file has.

    Args:
        channels: channels of the recording.
        name: the name of the recording.

    Raises:
        AudioError: there are too many.
    """
    if channels > _MOST_CHANNELS:
        raise AudioError(
            f"{printable(name)}: it has {channels:,} channels; a recording may have from 1 to {_MOST_CHANNELS:,}"
        )


def fits_into_memory(samples: int, rate: int) -> bool:
    """Whether samples can be held as they are, joined, and at 16 kHz. Linux gives memory that is not there.

    Args:
        samples: number of samples, of one channel.
        rate: the rate of them, in Hz.
    """
    return 4 * samples * (2 + SAMPLING_RATE / rate) < memory()


def memory() -> float:
    """Bytes of memory of this machine; infinite on Windows, which itself reports a lack of memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf


def refuse_wild(block: NDArray[np.float32], name: str | Path) -> None:
    """Refuse samples that are not finite numbers, or beyond what float32 can compute with.

    Args:
        block: any shape, not empty.
        name: the name of the recording.

    Raises:
        AudioError: some are.
    """
    if not peak_of(block) < _LOUDEST:  # also where it is NaN
        raise AudioError(f"{printable(name)}: it holds samples that are not finite numbers, or far outside of -1 to 1")


def in_unit_range(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples as libsndfile gives them: float32, integers divided by their type's range, in the order of a file.

    Args:
        samples: (frames, channels), floats or PCM integers.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        floats = samples.astype(np.float32, order="C", copy=False)
    if samples.dtype.kind == "f":
        return floats
    middle, span = (128, 128) if samples.dtype == np.uint8 else (0, -int(np.iinfo(samples.dtype).min))
    return (floats - np.float32(middle)) / np.float32(span)
