"""Any audio file to mono samples at 16 kHz: soundfile decodes, soxr resamples.

Files are read in blocks from their beginning. What a header says decides neither how much memory is taken nor how long a recording
is taken to be: where it cannot be believed, the samples are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soxr

from astune.data.formats import SUFFIXES as SUFFIXES
from astune.data.formats import UNREADABLE as UNREADABLE
from astune.data.levels import Levels, peak_of
from astune.data.opening import frame_hint, opened
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.data.opening import Sound

SAMPLING_RATE = 16_000  # Hz

CUT = "cut short"
LONGER = "longer than its header says"
"""Kinds of doubt, beside those of :mod:`astune.data.levels`; :attr:`Facts.doubts` begin with one of them."""

_MARGIN = 0.1  # seconds decoded beyond what is asked for, so that the resampler's edge falls outside,
_MARGIN_FRAMES = 1000  # and at least so many frames, for its filter is counted in them
_LOUDEST = 1e10  # beyond this float32 cannot hold the power of a frame; integers stored as floats stay below
_SLOWEST = 40  # Hz; the lowest Mel filter begins at half of it, and each sample would become hundreds
_SLACK = 0.05  # seconds that encoders and headers may disagree by


@dataclass(frozen=True)
class Facts:
    """What is known of a recording."""

    sampling_rate: int
    """Hz, as the file has it."""
    channels: int
    seconds: float
    """Of all of it: counted where it was decoded to its end or where its header is in doubt, else by its header."""
    heard_seconds: float
    """Of the part that was asked for."""
    doubts: tuple[str, ...]
    """What makes it suspicious, as ``"kind: figures"``."""


@dataclass(frozen=True)
class Recording(Facts):
    """A recording as the front end takes it."""

    samples: NDArray[np.float32]
    """(samples,) at 16 kHz, mono."""


def read_audio(path: str | Path, seconds: float | None = None) -> NDArray[np.float32]:
    """Read a recording as mono samples at 16 kHz.

    Args:
        path: as for :func:`listen`.
        seconds: how much of its beginning is wanted; all where None.

    Returns:
        (samples,) in -1 to 1.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, or holds samples that are no numbers.
    """
    return listen(path, seconds).samples


def listen(path: str | Path, seconds: float | None = None, *, pipes: bool = True) -> Recording:
    """Read a recording as mono samples at 16 kHz, and what is known of it.

    Args:
        path: any file libsndfile can decode, of any rate and any channel count (averaged); a pipe, which is read once and to its
            end; or ``"-"`` for standard input.
        seconds: how much of its beginning is wanted; all where None.
        pipes: whether a pipe is read; where files are read again, it is refused.

    Returns:
        The samples, in -1 to 1, and the facts.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, or holds samples that are no numbers.
    """
    blocks: list[NDArray[np.float32]] = []
    facts = survey(path, blocks.append, seconds, pipes=pipes)
    try:
        mono = np.concatenate(blocks)
        blocks.clear()
        if facts.sampling_rate != SAMPLING_RATE:
            mono = soxr.resample(mono, facts.sampling_rate, SAMPLING_RATE)
        if seconds is not None:
            mono = mono[: round(seconds * SAMPLING_RATE)]
        samples = np.ascontiguousarray(mono, dtype=np.float32)
    except MemoryError as fault:
        raise AudioError(f"{printable(path)}: {_too_large(facts.seconds)}") from fault
    if not len(samples):
        raise AudioError(f"{printable(path)}: it is shorter than one sample at {SAMPLING_RATE} Hz")
    return Recording(**vars(facts), samples=samples)


def survey(
    path: str | Path,
    take: Callable[[NDArray[np.float32]], object],
    seconds: float | None = None,
    *,
    pipes: bool = True,
) -> Facts:
    """Go over a recording in blocks and hold none of them.

    Args:
        path: as for :func:`listen`.
        take: is given each block of the beginning that is wanted, (frames,), the mean of the channels at the file's own rate.
        seconds: how much of its beginning is wanted; all where None.
        pipes: as for :func:`listen`.

    Returns:
        What is known of it.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, or holds samples that are no numbers.
    """
    with opened(path, pipes=pipes) as sound:
        rate, channels = sound.file.samplerate, sound.file.channels
        wanted = None if seconds is None else math.ceil(seconds * rate + max(_MARGIN * rate, _MARGIN_FRAMES))
        if rate < _SLOWEST:
            raise AudioError(
                f"{printable(path)}: its header states {rate} samples a second; a rate below {_SLOWEST} holds nothing to hear"
            )
        levels, frames = Levels(), 0
        for block in sound.blocks(wanted):
            if not peak_of(block) < _LOUDEST:  # also where it is NaN
                raise AudioError(
                    f"{printable(path)}: it holds samples that are no finite numbers, or far outside of -1 to 1"
                )
            mono = block.mean(axis=1)
            levels.add(block, mono)
            take(mono)
            frames += len(block)
        partly = frames == wanted
        if partly and sound.doubtful:
            frames += sound.count()
        length = max(frames, sound.file.frames) if partly and not sound.doubtful else frames
    if not frames:
        raise AudioError(f"{printable(path)}: {_no_samples(path, sound)}")
    whole = length / rate
    cut = sound.promised / rate - whole > _SLACK
    doubts = [f"{CUT}: its header promises {_span(sound.promised / rate)}, and {_span(whole)} are there"] if cut else []
    if sound.frame.cut and not cut:
        doubts.append(f"{CUT}: {sound.frame.cut}")
    if sound.frame.surplus and not sound.frame.unfinished:
        doubts.append(f"{LONGER}: {sound.frame.surplus:,} bytes lie behind the end that it states")
    where = f" in its first {seconds:.1f} s" if partly and seconds is not None else ""
    doubts += [f"{doubt}{where}" for doubt in levels.doubts(channels)]
    return Facts(rate, channels, whole, whole if seconds is None else min(seconds, whole), tuple(doubts))


def duration(path: str | Path) -> float:
    """Length of a file: by its header where that can be believed, else counted.

    Args:
        path: an audio file.

    Returns:
        Seconds.

    Raises:
        AudioError: it is missing or no audio file, or a pipe, which could not be read again.
    """
    with opened(path, pipes=False) as sound:
        frames = sound.count() if sound.doubtful else sound.file.frames
        rate = sound.file.samplerate
    if not frames and sound.doubtful:
        raise AudioError(f"{printable(path)}: {_no_samples(path, sound)}")
    return float(frames / rate)


def _span(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _too_large(seconds: float) -> str:
    return f"its {_span(seconds)} do not fit into memory; cut it into shorter files"


def _no_samples(path: str | Path, sound: Sound) -> str:
    hint = frame_hint(path, sound.frame)
    return f"it holds no samples; {hint}" if hint else "it holds no samples"
