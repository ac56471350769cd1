"""Any audio file to mono samples at 16 kHz: soundfile decodes, soxr resamples.

Files are read in blocks from their beginning. What a header says decides neither how much memory is taken nor how long a recording
is taken to be: where it cannot be believed, the samples are counted.
"""

from __future__ import annotations

import io
import math
import os
import stat
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from astune.data.containers import Frame, inspect
from astune.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

SAMPLING_RATE = 16_000  # Hz
_READABLE = (
    "8svx aif aifc aiff au avr caf flac htk iff ircam mp1 mp2 mp3 nist oga ogg opus paf pvf rf64 sds sf snd sph svx "
    "voc w64 wav wave wavex wve"
)
SUFFIXES = frozenset(f".{name}" for name in _READABLE.split())
"""Of files taken for audio when a folder is searched; a file named by a table may have any."""
_UNREADABLE = (
    "3g2 3ga 3gp aa aac aax ac3 adts alac amr ape asf at3 avi awb dff dsf dts eac3 f4a flv g722 gsm m4a m4b m4p m4r m4v "
    "mka mkv mogg mov mp4 mpc mpeg mpg ofr ogv oma pcm qcp ra ram raw rm sd2 shn spx tak tta vqf weba webm wma wmv wv"
)
UNREADABLE = frozenset(f".{name}" for name in _UNREADABLE.split())
"""Of audio and video files that libsndfile does not decode; they are counted where they are passed over."""
STDIN = "-"
"""In place of a path: standard input."""

CUT = "cut short"
LONGER = "longer than its header says"
SILENT = "digital silence"
CONSTANT = "one value throughout"
CANCELLED = "channels that cancel out"
QUIET = "very quiet"
LOUD = "far outside of -1 to 1"
"""Kinds of doubt; :attr:`Facts.doubts` begin with one of them."""

_MARGIN = 0.1  # seconds decoded beyond what is asked for, so that the resampler's edge falls outside,
_MARGIN_FRAMES = 1000  # and at least so many frames, for its filter is counted in them
_LOUDEST = 1e10  # beyond this float32 cannot hold the power of a frame; integers stored as floats stay below
_BEYOND = 16_000  # frames asked for beyond those that the header states; a multiple of 10 too
_BLOCK = 1_008_000  # samples of all channels that are decoded at a time; a multiple of 10 frames, which PAF of 24 bits is packed in
_SLOWEST = 40  # Hz; the lowest Mel filter begins at half of it, and each sample would become hundreds
_DENSEST = 64  # frames a byte; beyond it is only silence, or a header that lies
_ENDLESS = 2**62  # frames: libsndfile's word for a length that the header does not state
_SLACK = 0.05  # seconds that encoders and headers may disagree by
_PEAK_USUAL = 2.0  # beyond it are integers stored as floats; clipped recordings and lossy codecs stay below
_PEAK_QUIET = 1e-3  # -60 dBFS
_CANCELLING = 0.01  # of two channels' power left in their mean: 20 dB below
_PIPE_LIMIT = 2**30  # bytes
_PIPE_STEP = 2**20
_FAULTS = (
    soundfile.SoundFileError,
    OSError,
    TypeError,
    ValueError,
    MemoryError,
)  # TypeError: of a suffix that means no header


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
        raise AudioError(f"{path}: {_too_large(facts.seconds)}") from fault
    if not len(samples):
        raise AudioError(f"{path}: it is shorter than one sample at {SAMPLING_RATE} Hz")
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
    with _opened(path, pipes=pipes) as sound:
        rate, channels = sound.file.samplerate, sound.file.channels
        wanted = None if seconds is None else math.ceil(seconds * rate + max(_MARGIN * rate, _MARGIN_FRAMES))
        if rate < _SLOWEST:
            raise AudioError(
                f"{path}: its header states {rate} samples a second; a rate below {_SLOWEST} holds nothing to hear"
            )
        levels, frames = _Levels(), 0
        for block in sound.blocks(wanted):
            if not _peak(block) < _LOUDEST:  # also where it is NaN
                raise AudioError(f"{path}: it holds samples that are no finite numbers, or far outside of -1 to 1")
            mono = block.mean(axis=1)
            levels.add(block, mono)
            take(mono)
            frames += len(block)
        partly = frames == wanted
        if partly and sound.doubtful:
            frames += sound.count()
        length = max(frames, sound.file.frames) if partly and not sound.doubtful else frames
    if not frames:
        raise AudioError(f"{path}: {_no_samples(path, sound)}")
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
    with _opened(path, pipes=False) as sound:
        frames = sound.count() if sound.doubtful else sound.file.frames
        rate = sound.file.samplerate
    if not frames and sound.doubtful:
        raise AudioError(f"{path}: {_no_samples(path, sound)}")
    return float(frames / rate)


def encodable(path: str | Path) -> str | bytes:
    """A path as soundfile takes it, names that are not UTF-8 included.

    Args:
        path: any path.

    Returns:
        Bytes where the system's names are bytes.
    """
    return os.fsencode(path) if os.name == "posix" else str(path)  # soundfile cannot encode names that are not UTF-8


class _Straight(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """A file that is read from its beginning to its end.

    soundfile seeks behind each block to where it is already. MP3 and Opus then decode the next block from a fresh state, other numbers;
    and where the header states another length than there is, the seek fails.
    """

    def seekable(self) -> bool:
        return False


@dataclass
class _Sound:
    """An opened recording."""

    file: _Straight
    size: int
    """Bytes."""
    frame: Frame

    @property
    def promised(self) -> int:
        """Frames that the header states; 0 where it states none."""
        return 0 if self.file.frames > _ENDLESS else int(self.file.frames)

    @property
    def doubtful(self) -> bool:
        """Whether the frames have to be counted."""
        unknown = self.frame.unfinished and self.promised == 0
        return bool(self.frame.cut or self.frame.surplus or unknown) or self.file.frames > _DENSEST * self.size

    def blocks(self, wanted: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Decoded frames from here on, (frames, channels) each, as many as wanted or all."""
        step, got = max(1, _BLOCK // self.file.channels), 0
        while wanted is None or got < wanted:
            # libsndfile writes zeros over what it is given and does not fill: megabytes for each short file.
            likely = min(step, max(self.promised - got, 0) // 10 * 10 + _BEYOND) if self.promised else step
            block = self.file.read(
                likely if wanted is None else min(likely, wanted - got), dtype="float32", always_2d=True
            )
            if not len(block):
                return
            got += len(block)
            yield block

    def count(self) -> int:
        """Decode the rest, and say how many frames it has."""
        return sum(len(block) for block in self.blocks())


@contextmanager
def _opened(path: str | Path, *, pipes: bool) -> Iterator[_Sound]:
    if not pipes and _is_pipe(path):
        raise AudioError(f"{path}: it is a pipe, which can be read only once; save it to a file")
    content, frame = _piped(path), Frame()
    try:
        with nullcontext(content) if content else open(path, "rb", buffering=0) as raw:  # noqa: PTH123 - names that hold a zero byte
            frame, size = inspect(raw), raw.seek(0, io.SEEK_END)
            raw.seek(0)
            by_name = content is None and not _has_twin(path)
            source = encodable(path) if by_name else content or raw.fileno()
            with _Straight(source, closefd=False) as file:
                yield _Sound(file, size, frame)
    except _FAULTS as fault:
        reason = _undecodable(content, fault) if content else _reason(Path(path), fault)
        raise AudioError(f"{path}: {reason}{f'; it is {CUT}: {frame.cut}' if frame.cut else ''}") from fault


def _has_twin(path: str | Path) -> bool:
    """Whether a Mac has left ``._clip.mp3`` beside ``clip.mp3``, which libsndfile takes for a part of it and fails at."""
    folder, name = os.path.split(path)
    twins = (os.path.join(folder, f"._{name}"), os.path.join(folder, ".AppleDouble", name))  # noqa: PTH118 - names of any kind
    return not name.lower().endswith(".sd2") and any(map(os.path.lexists, twins))


def _is_pipe(path: str | Path) -> bool:
    return str(path) == STDIN or stat.S_ISFIFO(_mode(path))


def _mode(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):  # opening it will say why
        return 0


def _piped(path: str | Path) -> io.BytesIO | None:
    """All that a pipe gives; None for a file.

    Raises:
        AudioError: it gives too much, or is neither.
    """
    mode = _mode(path)
    if str(path) == STDIN:
        stream = getattr(sys.stdin, "buffer", None)
        if stream is None or sys.stdin.isatty():
            raise AudioError(f"{path}: nothing is piped into standard input; give a file, or `cat FILE | ...`")
        return _bounded(path, stream)
    if stat.S_ISFIFO(mode):
        try:
            with open(path, "rb") as pipe:  # noqa: PTH123 - as above
                return _bounded(path, pipe)
        except OSError as fault:
            raise AudioError(f"{path}: the pipe cannot be read ({fault.strerror})") from fault
    if stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        kind = "socket" if stat.S_ISSOCK(mode) else "device"
        raise AudioError(f"{path}: it is a {kind}, no recording; give a file or a pipe")
    return None


def _bounded(path: str | Path, stream: BinaryIO) -> io.BytesIO:
    content = io.BytesIO()
    while part := stream.read(_PIPE_STEP):
        content.write(part)
        if content.tell() > _PIPE_LIMIT:
            raise AudioError(f"{path}: it gives more than {_PIPE_LIMIT // 2**20:,} MiB; save it to a file")
    return content


def _peak(block: NDArray[np.float32]) -> float:
    return max(float(block.max()), -float(block.min()))


class _Levels:
    """Extremes and powers over all blocks."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.low, self.high = math.inf, -math.inf
        self.power = self.mixed_power = 0.0

    def add(self, block: NDArray[np.float32], mono: NDArray[np.float32]) -> None:
        """Take account of a block, (frames, channels), and of its mean over channels."""
        self.peak = max(self.peak, _peak(block))
        self.low, self.high = min(self.low, float(mono.min())), max(self.high, float(mono.max()))
        if block.shape[1] > 1:
            self.power += float(np.einsum("ij,ij->", block, block)) / block.shape[1]
            self.mixed_power += float(np.einsum("i,i->", mono, mono))

    def doubts(self, channels: int) -> list[str]:
        """What is unusual."""
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


def _span(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _too_large(seconds: float) -> str:
    return f"its {_span(seconds)} do not fit into memory; cut it into shorter files"


def _no_samples(path: str | Path, sound: _Sound) -> str:
    if sound.frame.unfinished and sound.frame.surplus:
        return (
            f"its header was never finished: {sound.frame.surplus:,} bytes of sound lie behind it; "
            f"write it anew, for example with `ffmpeg -i {path} repaired.wav`"
        )
    return "it holds no samples" + (f"; it is {CUT}: {sound.frame.cut}" if sound.frame.cut else "")


def _reason(path: Path, fault: Exception) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except FileNotFoundError:
        absent = "there is no such file"
        return f"{absent}: its content is not here; fetch it with `git annex get`" if _annexed(path) else absent
    except IsADirectoryError:
        return "it is a folder"
    except (OSError, ValueError) as refusal:
        return f"it cannot be opened ({getattr(refusal, 'strerror', refusal)})"
    for beginning, what, fetch in _POINTERS:
        if start.startswith(beginning):
            return f"it is a {what} pointer, not the recording; fetch that with `{fetch}`"
    suffix = path.suffix.lower()
    if start and suffix == ".raw":
        return ".raw samples come without their rate and channels; convert it to .wav or .flac"
    if start and suffix in UNREADABLE:
        return f"{suffix} is not a format libsndfile decodes; convert it to .wav or .flac"
    return _undecodable(io.BytesIO(start), fault)


_POINTERS = (
    (b"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get"),
)


def _annexed(path: Path) -> bool:
    try:
        return ".git/annex/" in path.readlink().as_posix()
    except (OSError, ValueError):
        return False


def _undecodable(content: io.BytesIO, fault: Exception) -> str:
    content.seek(0)
    if not content.read(1):
        return "the file is empty"
    if isinstance(fault, MemoryError):
        return "it needs more memory than there is; cut it into shorter files"
    text = fault.error_string if isinstance(fault, soundfile.LibsndfileError) else str(fault)
    if "does not exist" in text:  # libsndfile's words for an MP3 without a frame
        text = "no audio was found in it"
    text = text.removeprefix("Error : ").rstrip(".").strip()
    return f"it cannot be decoded ({text})" if text else "it cannot be decoded"
