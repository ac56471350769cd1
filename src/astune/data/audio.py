"""Any audio file to mono samples at 16 kHz: soundfile or PyAV decodes, soxr resamples.

Files are read in blocks from their beginning. What a header says decides neither how much memory is taken nor how long a recording
is taken to be: where it cannot be believed, the samples are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import soxr

from astune.data.levels import Levels
from astune.data.opening import frame_hint, open_sound
from astune.data.part import Part
from astune.data.samples import SAMPLING_RATE as SAMPLING_RATE
from astune.data.samples import fits_into_memory, in_unit_range, refuse_channels, refuse_rate, refuse_wild
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from astune.data.sound import Sound

    Watch: TypeAlias = Callable[[int, NDArray[np.float32]], object]
    Blocks: TypeAlias = Generator[tuple[int, NDArray[np.float32]], None, "Facts"]

CUT = "cut short"
LONGER = "longer than its header says"
BEYOND = "clip that goes on beyond the end of its file"
"""Kinds of doubt, in addition to those of :mod:`astune.data.levels`; :attr:`Facts.doubts` begin with one of them."""

_CUT_IT = "cut it into shorter files"
_SLACK = 0.05  # seconds that encoders and headers may disagree by


@dataclass(frozen=True)
class Facts:
    """What is known of a recording, or of the part of it that was asked for."""

    sampling_rate: int
    """Hz, as the file has it."""
    channels: int
    seconds: float
    """Length from ``start`` to ``end``, by default to the end of the file; counted if the file was decoded to its end or its header
    is in doubt, else by its header."""
    heard_seconds: float
    """Seconds of the requested part that were decoded."""
    doubts: tuple[str, ...]
    """What makes it suspicious, as ``"kind: figures"``."""


@dataclass(frozen=True)
class Recording(Facts):
    """A recording as the front end takes it."""

    samples: NDArray[np.float32]
    """(samples,) at 16 kHz, mono."""

    @property
    def facts(self) -> Facts:
        """What is known of it, without the samples."""
        return Facts(self.sampling_rate, self.channels, self.seconds, self.heard_seconds, self.doubts)


def read_audio(path: str | Path, start: float = 0.0, seconds: float | None = None) -> NDArray[np.float32]:
    """Read a recording, or a part of it, as mono samples at 16 kHz.

    Args:
        path: see :func:`listen`.
        start: start of the part in seconds.
        seconds: how much is wanted from there on; all where None.

    Returns:
        (samples,) in -1 to 1: those that reading all of it would give for this part.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, has ended before ``start``, or holds samples that are no numbers.
    """
    return listen(path, start, seconds).samples


def listen(
    path: str | Path,
    start: float = 0.0,
    seconds: float | None = None,
    *,
    end: float | None = None,
    pipes: bool = True,
) -> Recording:
    """Read a recording, or a part of it, as mono samples at 16 kHz, and what is known of it.

    Args:
        path: any file that libsndfile decodes, or PyAV where it is installed, of any rate and any channel count (averaged); a pipe,
            which is read once and to its end; or ``"-"`` for standard input.
        start: start of the part in seconds.
        seconds: how much is wanted from there on; all where None.
        end: end of the clip in seconds; by default the end of the file. Nothing after it is read; a file that has ended before is
            in doubt.
        pipes: whether a pipe is read; where files are read again, it is refused.

    Returns:
        The samples, in -1 to 1, and the facts.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, has ended before ``start``, or holds samples that are no numbers.
    """
    blocks: list[NDArray[np.float32]] = []
    held = 0

    def hold(rate: int, block: NDArray[np.float32]) -> None:
        nonlocal held
        held += len(block)
        if not fits_into_memory(held, rate):
            raise AudioError(f"{printable(path)}: {_too_large(held / rate)}")
        blocks.append(block)

    part = Part(start, seconds, end)
    facts = _go_over(_walk(path, part, margins=True, pipes=pipes), hold, path)
    return _recording(blocks, facts, part, path)


def listen_to_samples(
    samples: NDArray[Any],
    sampling_rate: int,
    seconds: float | None = None,
    frames: int | None = None,
    *,
    name: str = "samples",
) -> Recording:
    """Take samples in memory as :func:`listen` takes those of a file: the same samples give the same recording bit for bit.

    Args:
        samples: (frames, channels), floats in -1 to 1, or integers as PCM has them: int8, int16, int32, or uint8 around 128.
        sampling_rate: rate in Hz, a whole number.
        seconds: how much of their beginning is wanted; all where None.
        frames: frames of the whole recording, where these are its beginning; :func:`frames_needed` says how many suffice.
        name: what to call them in messages.

    Returns:
        The recording.

    Raises:
        AudioError: there are no samples, some are not numbers, or their rate is too low or too high.
    """
    refuse_rate(sampling_rate, "its sampling_rate is", name)
    refuse_channels(samples.shape[1], name)
    part = Part(0.0, seconds, None)
    wanted = part.frames(sampling_rate, margins=True)
    block = in_unit_range(samples[:wanted])
    if not block.size:
        raise AudioError(f"{printable(name)}: it holds no samples")
    refuse_wild(block, name)
    mono, levels = block.mean(axis=1), Levels()
    # The resampler needs samples around it that are not used.
    used = slice(0, None if seconds is None else math.ceil(seconds * sampling_rate))
    levels.add(block[used], mono[used])
    whole = (len(samples) if frames is None else frames) / sampling_rate
    where = part.first_seconds(whole) if len(block) == wanted else ""
    doubts = tuple(f"{doubt}{where}" for doubt in levels.doubts(block.shape[1]))
    return _recording([mono], Facts(sampling_rate, block.shape[1], whole, part.used_seconds(whole), doubts), part, name)


def frames_needed(sampling_rate: int, seconds: float | None) -> int | None:
    """How many frames of a recording's beginning are looked at, where so many seconds of it are wanted.

    Args:
        sampling_rate: rate in Hz.
        seconds: how much of its beginning is wanted.

    Returns:
        Frames, with those that the resampler needs; None for all of them, where None was given.
    """
    return Part(0.0, seconds, None).frames(sampling_rate, margins=True)


def _recording(blocks: list[NDArray[np.float32]], facts: Facts, part: Part, name: str | Path) -> Recording:
    """Join the blocks of a recording at 16 kHz; the list is empty then.

    Raises:
        AudioError: nothing is left of them, or they do not fit into memory.
    """
    rate = facts.sampling_rate
    try:
        mono = np.concatenate(blocks)
        blocks.clear()
        if rate != SAMPLING_RATE:
            mono = soxr.resample(mono, rate, SAMPLING_RATE)
        before = round(part.start * SAMPLING_RATE) - part.first(rate, margins=True) * SAMPLING_RATE // rate
        wanted = part.wanted
        mono = mono[before : None if wanted is None else before + round(wanted * SAMPLING_RATE)]
        samples = np.ascontiguousarray(mono, dtype=np.float32)
    except MemoryError as fault:
        raise AudioError(f"{printable(name)}: {_too_large(facts.seconds)}") from fault
    if not len(samples):
        raise AudioError(f"{printable(name)}: it is shorter than one sample at {SAMPLING_RATE} Hz")
    return Recording(**vars(facts), samples=samples)


def survey(
    path: str | Path,
    take: Callable[[NDArray[np.float32]], object],
    start: float = 0.0,
    seconds: float | None = None,
    *,
    end: float | None = None,
    pipes: bool = True,
    watch: Watch | None = None,
) -> Facts:
    """Go over a recording, or a part of it, in blocks and hold none of them.

    Args:
        path: see :func:`listen`.
        take: is given each block of what is wanted, (frames,), the mean of the channels at the file's own rate.
        start: start of the part in seconds.
        seconds: how much is wanted from there on; all where None.
        end: see :func:`listen`.
        pipes: see :func:`listen`.
        watch: is given the rate of the file in Hz and each block with its channels, (frames, channels), before ``take`` is.

    Returns:
        What is known of it.

    Raises:
        AudioError: it is missing, cannot be decoded, is empty, has ended before ``start``, or holds samples that are no numbers.
    """
    blocks = _walk(path, Part(start, seconds, end), margins=False, pipes=pipes, watch=watch)
    return _go_over(blocks, lambda _, block: take(block), path)


def duration(path: str | Path, start: float = 0.0, end: float | None = None) -> float:
    """Length of a file, or of a part of it: by its header where that can be believed, else counted.

    Args:
        path: an audio file.
        start: start of the part in seconds.
        end: end of the part in seconds; by default, or if the file is shorter, the end of the file.

    Returns:
        Seconds.

    Raises:
        AudioError: it is missing or no audio file, has ended before ``start``, or is a pipe, which could not be read again.
    """
    part = Part(start, None, end)
    part.refuse(path)
    with open_sound(path, pipes=False) as sound:
        _refuse_header(sound, path)
        frames = sound.count() if sound.doubtful else sound.promised
        rate = sound.rate
    if not frames and sound.doubtful:
        raise AudioError(f"{printable(path)}: {_no_samples(path, sound)}")
    whole = float(frames / rate)
    if start and start >= whole:
        raise AudioError(f"{printable(path)}: {_ended(start, whole)}")
    return part.length(whole)


def blocks_of(path: str | Path, *, pipes: bool = True) -> Blocks:
    """A whole recording, block by block as it is asked for; the file is open until the last one, or until the generator is closed.

    Args:
        path: see :func:`listen`.
        pipes: see :func:`listen`.

    Returns:
        Gives (frames,) with their rate, the mean of the channels at the file's own rate, and returns what is known of it. Raises
        ``AudioError`` while it is drawn, as :func:`listen` does.
    """
    return _walk(path, Part(0.0, None, None), margins=False, pipes=pipes)


def _go_over(blocks: Blocks, take: Watch, path: str | Path) -> Facts:
    """Draw all blocks, and say what is known of the recording then.

    Raises:
        AudioError: see :func:`listen`.
    """
    while True:
        try:
            take(*next(blocks))
        except StopIteration as end:
            return cast(Facts, end.value)
        except MemoryError as fault:
            raise AudioError(f"{printable(path)}: it needs more memory than there is; {_CUT_IT}") from fault


def _walk(path: str | Path, part: Part, *, margins: bool, pipes: bool, watch: Watch | None = None) -> Blocks:
    """A recording in blocks, at the pace of whoever draws; with margins, what the resampler needs around the part comes too.

    Raises:
        AudioError: see :func:`listen`.
    """
    part.refuse(path)
    with open_sound(path, pipes=pipes) as sound:
        rate, channels = sound.rate, sound.channels
        _refuse_header(sound, path)
        first, wanted = part.first(rate, margins=margins), part.frames(rate, margins=margins)
        levels, got = Levels(), 0
        before = round(part.start * rate) - first  # margins are not used, so their levels do not matter
        after = None if part.wanted is None else before + math.ceil(part.wanted * rate)
        for block in sound.blocks(wanted, first):
            refuse_wild(block, path)
            mono = block.mean(axis=1)
            inside = slice(max(before - got, 0), None if after is None else max(after - got, 0))
            if len(mono[inside]):
                levels.add(block[inside], mono[inside])
            if watch:
                watch(rate, block)
            yield rate, mono
            got += len(block)
        partly = got == wanted
        frames = sound.position
        if partly and sound.doubtful:
            frames += sound.count()
        whole = (max(frames, sound.promised) if partly and not sound.doubtful else frames) / rate
    if not frames:
        raise AudioError(f"{printable(path)}: {_no_samples(path, sound)}")
    if part.start and got <= before:
        raise AudioError(f"{printable(path)}: {_ended(part.start, whole)}")
    length = part.length(whole)
    where = part.first_seconds(length) if partly else ""
    doubts = [*_doubts_of_file(sound, whole), *(f"{doubt}{where}" for doubt in levels.doubts(channels))]
    if part.end is not None and part.end - whole > _SLACK:
        doubts.append(f"{BEYOND}: it should end at {_span(part.end)}, and the file ends at {_span(whole)}")
    return Facts(rate, channels, length, part.used_seconds(length), tuple(doubts))


def _refuse_header(sound: Sound, path: str | Path) -> None:
    """Refuse a rate or channels that no recording has, before anything is decoded.

    Raises:
        AudioError: it has such.
    """
    refuse_rate(sound.rate, "its header states", path)
    refuse_channels(sound.channels, path)


def _doubts_of_file(sound: Sound, whole: float) -> list[str]:
    """What of the file contradicts its header, given its length in seconds."""
    cut = sound.promised / sound.rate - whole > _SLACK
    doubts = (
        [f"{CUT}: its header promises {_span(sound.promised / sound.rate)}, and {_span(whole)} are there"]
        if cut
        else []
    )
    if sound.frame.cut and not cut:
        doubts.append(f"{CUT}: {sound.frame.cut}")
    if sound.frame.surplus and not sound.frame.unfinished:
        doubts.append(f"{LONGER}: {sound.frame.surplus:,} bytes follow the end that it states")
    return [*doubts, *sound.remarks]


def _ended(start: float, whole: float) -> str:
    return f"the file ends at {_span(whole)}, and the clip would start at {_span(start)}; correct its start"


def _span(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _too_large(seconds: float) -> str:
    return f"its {_span(seconds)} do not fit into memory; {_CUT_IT}"


def _no_samples(path: str | Path, sound: Sound) -> str:
    hint = frame_hint(path, sound.frame)
    return f"it holds no samples; {hint}" if hint else "it holds no samples"
