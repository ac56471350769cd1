"""Opening recordings, files and pipes alike, and the sentences for what cannot be opened or decoded."""

from __future__ import annotations

import io
import os
import stat
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from astune.console import shell_word
from astune.data.containers import Frame, inspect
from astune.data.formats import UNREADABLE
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray

STDIN = "-"
"""In place of a path: standard input."""

_BLOCK = 1_008_000  # samples of all channels that are decoded at a time; a multiple of 10 frames, which PAF of 24 bits is packed in
_BEYOND = 16_000  # frames asked for beyond those that the header states; a multiple of 10 too
_DENSEST = 64  # frames a byte; beyond it is only silence, or a header that lies
_EXACT = {  # where a seek gives the samples that reading up to there gives: each sample by itself, or FLAC, which counts its frames
    "containers": frozenset(("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")),
    "samples": frozenset(("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
}
_ENDLESS = 2**62  # frames: libsndfile's word for a length that the header does not state
_PIPE_LIMIT = 2**30  # bytes
_PIPE_STEP = 2**20
_POINTERS = (
    (b"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get"),
)
_FOREIGN = (  # formats that other names hide: where their mark is, the mark, what it is
    (4, b"ftyp", "MPEG-4 (.m4a, .mp4)"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska (.webm, .mka)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (.wma)"),
    (0, b"#!AMR", "AMR (.amr)"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
)
_SAYINGS = (  # of libsndfile: what it says, what it means
    ("does not exist", "no audio was found in it"),  # of an MP3 without a frame
    ("SF_INFO struct incomplete", "its header is damaged: it states no rate, no channels or no format"),
    ("Unspecified internal error", "it is damaged"),
)
# TypeError: of a suffix that means no header.
_FAULTS = (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError)


class _Straight(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """A file that is read from its beginning to its end.

    soundfile seeks behind each block to where it is already. MP3 and Opus then decode the next block from a fresh state, other numbers;
    and where the header states another length than there is, the seek fails.
    """

    def seekable(self) -> bool:
        """Never, so that nothing seeks."""
        return False


@dataclass
class Sound:
    """An opened recording."""

    file: _Straight
    size: int
    """Bytes."""
    frame: Frame
    position: int = 0
    """The frame that is decoded next."""

    @property
    def promised(self) -> int:
        """Frames that the header states; 0 where it states none."""
        return 0 if self.file.frames > _ENDLESS else int(self.file.frames)

    @property
    def doubtful(self) -> bool:
        """Whether the frames have to be counted."""
        unknown = self.frame.unfinished and self.promised == 0
        return bool(self.frame.cut or self.frame.surplus or unknown) or self.file.frames > _DENSEST * self.size

    def blocks(self, wanted: int | None = None, first: int = 0) -> Iterator[NDArray[np.float32]]:
        """Decoded frames from here on, or from a later one.

        Args:
            wanted: how many frames; all where None.
            first: frames that are passed over before them; what lies before is decoded only where a seek would change the samples.

        Yields:
            (frames, channels) each.
        """
        step = max(1, _BLOCK // self.file.channels)
        before = first - self._sought(first)
        last = None if wanted is None else before + wanted
        got = 0
        while last is None or got < last:
            # libsndfile writes zeros over what it is given and does not fill: megabytes for each short file.
            left = self.promised - self.position
            likely = min(step, max(left, 0) // 10 * 10 + _BEYOND) if self.promised else step
            block = self.file.read(likely if last is None else min(likely, last - got), dtype="float32", always_2d=True)
            if not len(block):
                return
            self.position += len(block)
            got += len(block)
            if got > before:
                yield block[max(before - got + len(block), 0) :]

    def _sought(self, first: int) -> int:
        """Seek where that is exact, and say how many frames were passed over: all, or none."""
        exact = self.file.format in _EXACT["containers"] and self.file.subtype in _EXACT["samples"]
        if not exact or self.doubtful or not 0 < first < self.promised:
            return 0
        self.file.seek(first, io.SEEK_CUR)
        self.position += first
        return first

    def count(self) -> int:
        """Decode the rest, and say how many frames it has."""
        return sum(len(block) for block in self.blocks())


@contextmanager
def opened(path: str | Path, *, pipes: bool) -> Iterator[Sound]:
    """Open a recording for the time of a block; what goes wrong meanwhile becomes a sentence.

    Args:
        path: a file, a pipe, or ``-`` for standard input.
        pipes: whether a pipe is read, to its end; where files are read again, it is refused.

    Yields:
        The recording, to be read once from its beginning.

    Raises:
        AudioError: it cannot be opened or decoded.
    """
    if not pipes and is_pipe(path):
        raise AudioError(f"{printable(path)}: it is a pipe, which can be read only once; save it to a file")
    content, frame = _piped(path), Frame()
    try:
        with nullcontext(content) if content else open(path, "rb", buffering=0) as raw:  # noqa: PTH123 - names that hold a zero byte
            frame, size = inspect(raw), raw.seek(0, io.SEEK_END)
            raw.seek(0)
            by_name = content is None and not _has_twin(path)
            source = _encodable(path) if by_name else content or raw.fileno()
            with _Straight(source, closefd=False) as file:
                yield Sound(file, size, frame)
    except _FAULTS as fault:
        reason = _undecodable(content, fault) if content else _reason(Path(path), fault)
        hint = frame_hint(path, frame)
        raise AudioError(f"{printable(path)}: {reason}{f'; {hint}' if hint else ''}") from fault


def frame_hint(path: str | Path, frame: Frame) -> str:
    """What a recording's frame says of why little or nothing can be decoded.

    Args:
        path: of the recording.
        frame: as inspected.

    Returns:
        A sentence with the next step; empty where the frame is sound.
    """
    if frame.cut:
        return f"it is cut short: {frame.cut}"
    if not frame.unfinished and not frame.surplus:
        return ""
    behind = f": {frame.surplus:,} bytes of sound lie behind it" if frame.surplus else ""
    repair = f"ffmpeg -i {shell_word(path)} repaired.wav"
    return f"its header was never finished{behind}; write it anew, for example with `{repair}`"


def _has_twin(path: str | Path) -> bool:
    """Whether a Mac has left ``._clip.mp3`` beside ``clip.mp3``, which libsndfile takes for a part of it and fails at."""
    folder, name = os.path.split(path)
    twins = (os.path.join(folder, f"._{name}"), os.path.join(folder, ".AppleDouble", name))  # noqa: PTH118 - names of any kind
    return not name.lower().endswith(".sd2") and any(map(os.path.lexists, twins))


def is_pipe(path: str | Path) -> bool:
    """Whether a path can be read only once.

    Args:
        path: of a file, or ``-`` for standard input.
    """
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
            raise AudioError(
                f"{printable(path)}: nothing is piped into standard input; give a file, or `cat FILE | ...`"
            )
        return _bounded(path, stream)
    if stat.S_ISFIFO(mode):
        try:
            with open(path, "rb") as pipe:  # noqa: PTH123 - as above
                return _bounded(path, pipe)
        except OSError as fault:
            raise AudioError(f"{printable(path)}: the pipe cannot be read ({fault.strerror})") from fault
    if stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        kind = "socket" if stat.S_ISSOCK(mode) else "device"
        raise AudioError(f"{printable(path)}: it is a {kind}, no recording; give a file or a pipe")
    return None


def _bounded(path: str | Path, stream: BinaryIO) -> io.BytesIO:
    content = io.BytesIO()
    while part := stream.read(_PIPE_STEP):
        content.write(part)
        if content.tell() > _PIPE_LIMIT:
            raise AudioError(f"{printable(path)}: it gives more than {_PIPE_LIMIT // 2**20:,} MiB; save it to a file")
    if not content.tell():
        raise AudioError(f"{printable(path)}: nothing came through it; is it read twice, or has its writer failed?")
    return content


def _encodable(path: str | Path) -> str | bytes:
    return os.fsencode(path) if os.name == "posix" else str(path)  # soundfile cannot encode names that are not UTF-8


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


def _annexed(path: Path) -> bool:
    try:
        return ".git/annex/" in path.readlink().as_posix()
    except (OSError, ValueError):
        return False


def _undecodable(content: io.BytesIO, fault: Exception) -> str:
    content.seek(0)
    start = content.read(256)
    if not start:
        return "the file is empty"
    for place, mark, what in _FOREIGN:
        if start[place:].startswith(mark):
            return f"its content is {what}, which libsndfile does not decode; convert it to .wav or .flac"
    if not any(start):
        return "it begins with zeros alone: a copy that was not finished, or a lost block? Copy it again"
    if isinstance(fault, MemoryError):
        return "it needs more memory than there is; cut it into shorter files"
    text = fault.error_string if isinstance(fault, soundfile.LibsndfileError) else str(fault)
    text = next((meaning for saying, meaning in _SAYINGS if saying in text), text)
    text = text.removeprefix("Error : ").rstrip(".").strip()
    return f"it cannot be decoded ({text})" if text else "it cannot be decoded"
