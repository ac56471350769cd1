"""Opening recordings, files and pipes alike, and the sentences for what cannot be opened or decoded."""

from __future__ import annotations

import importlib
import io
import os
import stat
import sys
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from astune.console import shell_word
from astune.data.containers import Frame, inspect
from astune.data.foreign import foreign_container, shared_container
from astune.data.formats import AV_SUFFIXES, INSTALL, UNREADABLE, av_installed
from astune.data.sound import PlainSound, Straight
from astune.errors import AudioError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import BinaryIO

    from astune.data.sound import Sound

STDIN = "-"
"""Name for standard input, in place of a path."""

_PIPE_LIMIT = 2**30  # bytes
_PIPE_STEP = 2**20
_POINTERS = (
    (b"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get"),
)
_NO_AUDIO = (  # what other names hide: the mark that it begins with, what it is
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
_SAYINGS = (  # of libsndfile: what it says, what it means
    ("does not exist", "no audio was found in it"),  # of an MP3 without a frame
    ("SF_INFO struct incomplete", "its header is damaged: it states no rate, no channels or no format"),
    ("Unspecified internal error", "it is damaged"),
)
# TypeError: of a suffix that means no header.
_FAULTS = (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError)


@contextmanager
def open_sound(path: str | Path, *, pipes: bool) -> Iterator[Sound]:
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
        with nullcontext(content) if content else open(path, "rb", buffering=0) as raw, ExitStack() as stack:  # noqa: PTH123 - names that hold a zero byte
            frame, size = inspect(raw), raw.seek(0, io.SEEK_END)
            yield _sound(path, content, raw, size, frame, stack)
    except _FAULTS as fault:
        reason = _undecodable(content, fault) if content else _reason(Path(path), fault)
        hint = frame_hint(path, frame)
        raise AudioError(f"{printable(path)}: {reason}{f'; {hint}' if hint else ''}") from fault


def _sound(
    path: str | Path, content: io.BytesIO | None, raw: BinaryIO, size: int, frame: Frame, stack: ExitStack
) -> Sound:
    """Choose who decodes a file, by its content; the file stays open until the stack is closed.

    Raises:
        AudioError: no decoder can read the file.
        LibsndfileError: no decoder can read the file, and libsndfile says why.
    """
    hint = frame_hint(path, frame)
    foreign = foreign_container(raw)
    if foreign is not None:
        if not av_installed():
            raise AudioError(
                f"{printable(path)}: its content is {foreign.words}, which libsndfile does not decode; {INSTALL}, or convert it to "
                ".wav or .flac"
            )
        opened_by_av = _av_sound(path).opened_by_av
        sound: Sound = stack.enter_context(opened_by_av(raw, foreign, str(path), size, frame, hint))
        return sound
    shared = shared_container(raw) if av_installed() else None
    raw.seek(0)
    by_name = content is None and not _has_twin(path)
    source = _encodable(path) if by_name else content or raw.fileno()
    try:
        return PlainSound(stack.enter_context(Straight(source, closefd=False)), size, frame)
    except soundfile.LibsndfileError:
        if shared is None:
            raise
        with suppress(AudioError):  # then libsndfile's word counts
            by_av = _av_sound(path)
            found: Sound = stack.enter_context(by_av.opened_by_av(raw, shared, str(path), size, frame, hint))
            if by_av.unlike_libsndfile(found):
                return found
        raise


def _av_sound(path: str | Path) -> ModuleType:
    """What decodes by PyAV, imported where a file needs it.

    Raises:
        AudioError: PyAV is installed, and broken.
    """
    try:
        return importlib.import_module("astune.data.av_sound")
    except ImportError as fault:
        raise AudioError(
            f"{printable(path)}: PyAV, which decodes it, is installed but cannot be imported ({fault}); {INSTALL} "
            "--force-reinstall, or convert it to .wav or .flac"
        ) from fault


def frame_hint(path: str | Path, frame: Frame) -> str:
    """What a recording's frame says of why little or nothing can be decoded.

    Args:
        path: the path of the recording.
        frame: the frames that inspection found.

    Returns:
        A sentence with the next step; empty where the frame is sound.
    """
    if frame.cut:
        return f"it is cut short: {frame.cut}"
    if not frame.unfinished and not frame.surplus:
        return ""
    behind = f": {frame.surplus:,} bytes of sound follow it" if frame.surplus else ""
    # What is before a colon would be a protocol of ffmpeg's.
    repair = f"ffmpeg -i {shell_word(f'file:{path}' if ':' in str(path) else path)} repaired.wav"
    return f"its header was never finished{behind}; write it again, for example with `{repair}`"


def _has_twin(path: str | Path) -> bool:
    """Whether a Mac has left ``._clip.mp3`` next to ``clip.mp3``, which libsndfile takes for a part of it and fails at."""
    folder, name = os.path.split(path)
    twins = (os.path.join(folder, f"._{name}"), os.path.join(folder, ".AppleDouble", name))  # noqa: PTH118 - names of any kind
    return not name.lower().endswith(".sd2") and any(map(os.path.lexists, twins))


def is_pipe(path: str | Path) -> bool:
    """Whether a path can be read only once.

    Args:
        path: the path of a file, or ``-`` for standard input.
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
        raise AudioError(f"{printable(path)}: it is a {kind}, not a recording; give a file or a pipe")
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
    if start and suffix in AV_SUFFIXES and not av_installed():
        return f"{suffix} is not a format libsndfile decodes; {INSTALL}, or convert it to .wav or .flac"
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
    for mark, what in _NO_AUDIO:
        if start.startswith(mark):
            return f"its content is {what}, which libsndfile does not decode; convert it to .wav or .flac"
    if not any(start):
        return "it begins with zeros alone: a copy that was not finished, or a lost block? Copy it again"
    if isinstance(fault, MemoryError):
        return "it needs more memory than there is; cut it into shorter files"
    text = fault.error_string if isinstance(fault, soundfile.LibsndfileError) else str(fault)
    text = next((meaning for saying, meaning in _SAYINGS if saying in text), text)
    text = text.removeprefix("Error : ").rstrip(".").strip()
    return f"it cannot be decoded ({text})" if text else "it cannot be decoded"
