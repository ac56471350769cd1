"""A whole recording as a stream of mono samples at 16 kHz, so that its length costs time and no memory.

What a stream gives, joined, are the samples of :func:`astune.data.audio.read_audio`, bit for bit: soxr's result does not depend on how
its input is cut. Blocks, checks and facts are those of :mod:`astune.data.audio`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import soxr

from astune.data.audio import SAMPLING_RATE, Facts, blocks_of
from astune.data.levels import Levels
from astune.data.samples import in_unit_range, refuse_channels, refuse_rate, refuse_wild
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.data.audio import Blocks

_BLOCK = (
    1_000_000  # samples of all channels that an array is taken by, and at most what one step of the resampler gives
)


class Resampler:
    """Samples of any rate to 16 kHz, block by block.

    Args:
        rate: the rate of what comes in, in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._step = max(1, _BLOCK * rate // SAMPLING_RATE)
        same = rate == SAMPLING_RATE
        self._soxr = None if same else soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32")

    def add(self, block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Resample a block.

        Args:
            block: (samples,) at the rate of what comes in.

        Yields:
            (samples,) at 16 kHz, or none yet: joined, they are what resampling all at once gives.
        """
        if self._soxr is None:
            yield block
            return
        for start in range(0, len(block), self._step):
            yield self._soxr.resample_chunk(block[start : start + self._step])

    def rest(self) -> Iterator[NDArray[np.float32]]:
        """What is left after the last block.

        Yields:
            (samples,) at 16 kHz.
        """
        if self._soxr is not None:
            yield self._soxr.resample_chunk(np.empty(0, np.float32), last=True)


class Stream:
    """A recording that is drawn once, block by block, from its beginning to its end.

    Args:
        blocks: blocks of the recording, at its own rate.
        name: name of the recording, for messages.
    """

    facts: Facts | None = None
    """Facts about the recording, known after its last block was drawn."""

    def __init__(self, blocks: Blocks, name: str | Path) -> None:
        self._blocks, self._name = blocks, name

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Draw it.

        Yields:
            (samples,) in -1 to 1, mono, at 16 kHz; never none.

        Raises:
            AudioError: see :func:`astune.data.audio.listen`, as soon as the block that shows it is drawn.
        """
        given = False
        for block in self._resampled():
            if len(block):
                given = True
                yield np.ascontiguousarray(block, dtype=np.float32)
        if not given:
            raise AudioError(f"{printable(self._name)}: it is shorter than one sample at {SAMPLING_RATE} Hz")

    def close(self) -> None:
        """Close the file, where the stream is not drawn to its end."""
        self._blocks.close()

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        resampler: Resampler | None = None
        while True:
            try:
                rate, block = next(self._blocks)
            except StopIteration as end:
                self.facts = cast(Facts, end.value)
                break
            resampler = resampler or Resampler(rate)
            yield from resampler.add(block)
        if resampler is not None:
            yield from resampler.rest()


def stream(path: str | Path, *, pipes: bool = True) -> Stream:
    """Open a recording as a stream.

    Args:
        path: see :func:`astune.data.audio.listen`.
        pipes: whether a pipe is read.

    Returns:
        The stream; what is wrong with the recording is raised while it is drawn.
    """
    return Stream(blocks_of(path, pipes=pipes), path)


def stream_of_samples(samples: NDArray[Any], sampling_rate: int, *, name: str = "samples") -> Stream:
    """Take samples in memory as :func:`stream` takes those of a file: the same samples give the same stream.

    Args:
        samples: see :func:`astune.data.audio.listen_to_samples`.
        sampling_rate: rate in Hz, a whole number.
        name: what to call them in messages.

    Returns:
        The stream.
    """
    return Stream(_blocks_of_samples(samples, sampling_rate, name), name)


def _blocks_of_samples(samples: NDArray[Any], sampling_rate: int, name: str) -> Blocks:
    """See :func:`astune.data.audio.blocks_of`.

    Raises:
        AudioError: there are no samples, some are not numbers, or their rate is too low.
    """
    refuse_rate(sampling_rate, "its sampling_rate is", name)
    frames, channels = samples.shape
    refuse_channels(channels, name)
    if not samples.size:
        raise AudioError(f"{printable(name)}: it holds no samples")
    levels, step = Levels(), max(1, _BLOCK // channels)
    for start in range(0, frames, step):
        block = in_unit_range(samples[start : start + step])
        refuse_wild(block, name)
        mono = block.mean(axis=1)
        levels.add(block, mono)
        yield sampling_rate, mono
    seconds = frames / sampling_rate
    return Facts(sampling_rate, channels, seconds, seconds, tuple(levels.doubts(channels)))
