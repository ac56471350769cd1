"""Any audio file to mono samples at 16 kHz: soundfile decodes, soxr resamples.

Files are read in blocks from their beginning. What a header says decides neither how much memory is taken nor how long a recording
is taken to be: where it cannot be believed, the samples are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    return _recording(blocks, facts, seconds, path)


def listen_to_samples(
    samples: NDArray[Any], sampling_rate: int, seconds: float | None = None, *, name: str = "samples"
) -> Recording:
    """Take samples in memory as :func:`listen` takes those of a file: the same samples give the same recording bit for bit.

    Args:
        samples: (frames, channels), floats in -1 to 1, or integers as PCM has them: int8, int16, int32, or uint8 around 128.
        sampling_rate: Hz, a whole number.
        seconds: how much of their beginning is wanted; all where None.
        name: of them, for messages.

    Returns:
        The recording.

    Raises:
        AudioError: there are none, some are no numbers, or their rate is too low.
    """
    wanted = _wanted_frames(sampling_rate, seconds)
    block = _in_unit_range(samples[:wanted])
    if not len(block):
        raise AudioError(f"{printable(name)}: it holds no samples")
    _refuse_rate(sampling_rate, "its sampling_rate is", name)
    _refuse_wild(block, name)
    mono, levels = block.mean(axis=1), Levels()
    levels.add(block, mono)
    whole = len(samples) / sampling_rate
    where = _first(seconds) if len(block) == wanted else ""
    doubts = tuple(f"{doubt}{where}" for doubt in levels.doubts(block.shape[1]))
    heard = whole if seconds is None else min(seconds, whole)
    return _recording([mono], Facts(sampling_rate, block.shape[1], whole, heard, doubts), seconds, name)


def _recording(blocks: list[NDArray[np.float32]], facts: Facts, seconds: float | None, name: str | Path) -> Recording:
    """Join the blocks of a recording at 16 kHz; the list is empty then.

    Raises:
        AudioError: nothing is left of them, or they do not fit into memory.
    """
    try:
        mono = np.concatenate(blocks)
        blocks.clear()
        if facts.sampling_rate != SAMPLING_RATE:
            mono = soxr.resample(mono, facts.sampling_rate, SAMPLING_RATE)
        if seconds is not None:
            mono = mono[: round(seconds * SAMPLING_RATE)]
        samples = np.ascontiguousarray(mono, dtype=np.float32)
    except MemoryError as fault:
        raise AudioError(f"{printable(name)}: {_too_large(facts.seconds)}") from fault
    if not len(samples):
        raise AudioError(f"{printable(name)}: it is shorter than one sample at {SAMPLING_RATE} Hz")
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
        wanted = _wanted_frames(rate, seconds)
        _refuse_rate(rate, "its header states", path)
        levels, frames = Levels(), 0
        for block in sound.blocks(wanted):
            _refuse_wild(block, path)
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
    where = _first(seconds) if partly else ""
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


def _wanted_frames(rate: int, seconds: float | None) -> int | None:
    """Frames that are read of a beginning; None for all."""
    return None if seconds is None else math.ceil(seconds * rate + max(_MARGIN * rate, _MARGIN_FRAMES))


def _refuse_rate(rate: int, stated: str, name: str | Path) -> None:
    if rate < _SLOWEST:
        raise AudioError(
            f"{printable(name)}: {stated} {rate} samples a second; a rate below {_SLOWEST} holds nothing to hear"
        )


def _refuse_wild(block: NDArray[np.float32], name: str | Path) -> None:
    if not peak_of(block) < _LOUDEST:  # also where it is NaN
        raise AudioError(f"{printable(name)}: it holds samples that are no finite numbers, or far outside of -1 to 1")


def _in_unit_range(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples as libsndfile gives them: float32, integers divided by their type's range, in the order of a file."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        floats = samples.astype(np.float32, order="C", copy=False)
    if samples.dtype.kind == "f":
        return floats
    middle, span = (128, 128) if samples.dtype == np.uint8 else (0, -int(np.iinfo(samples.dtype).min))
    return (floats - np.float32(middle)) / np.float32(span)


def _first(seconds: float | None) -> str:
    return "" if seconds is None else f" in its first {seconds:.1f} s"


def _span(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _too_large(seconds: float) -> str:
    return f"its {_span(seconds)} do not fit into memory; cut it into shorter files"


def _no_samples(path: str | Path, sound: Sound) -> str:
    hint = frame_hint(path, sound.frame)
    return f"it holds no samples; {hint}" if hint else "it holds no samples"
