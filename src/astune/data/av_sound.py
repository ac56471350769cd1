"""A recording that PyAV decodes, which is FFmpeg; imported only where PyAV is installed.

The samples are those of FFmpeg's own decoding. The first audio stream is used, from its beginning: where a part is wanted, all before
it is decoded too, because a decoder that starts in the middle gives other samples.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
from av.stream import Discard
from typing_extensions import override

from astune.data.samples import in_unit_range
from astune.data.sound import Sound
from astune.errors import AudioError
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

    from astune.data.containers import Frame
    from astune.data.foreign import Container

STREAMS = "several audio streams"
"""Kind of doubt: only one of the audio streams is used."""

_BY_LIBSNDFILE = ("pcm_", "flac")  # codecs of which libsndfile knows what is wrong
_FAULTS = (av.FFmpegError, ValueError, OSError, MemoryError)


@contextmanager
def opened_by_av(
    file: BinaryIO, container: Container, name: str, size: int, frame: Frame, hint: str
) -> Iterator[ForeignSound]:
    """Open a recording with PyAV.

    Args:
        file: whole and seekable.
        container: what it is.
        name: name of the file, for messages.
        size: size of the file in bytes.
        frame: the frames that inspection found.
        hint: what the frame says of why nothing can be decoded, or nothing.

    Yields:
        The recording, to be read once.

    Raises:
        AudioError: it has no audio stream, or nothing of it can be decoded.
    """
    behind = f"; {hint}" if hint else ""
    file.seek(0)
    try:
        opened: InputContainer = av.open(file, "r", format=container.format, metadata_errors="replace")
    except _FAULTS as fault:
        raise AudioError(
            f"{printable(name)}: it cannot be decoded as {container.words} ({_text(fault)}){behind}"
        ) from fault
    with opened:
        if not opened.streams.audio:
            what = "only pictures" if opened.streams.video else "no streams"
            raise AudioError(f"{printable(name)}: it has no audio stream: as {container.words} it holds {what}{behind}")
        if opened.streams.audio[0].codec_context is None:
            raise AudioError(f"{printable(name)}: its sound is coded in a way that PyAV does not decode{behind}")
        yield ForeignSound(opened, container, name, size, frame, behind)


class ForeignSound(Sound):
    """The first audio stream of a recording that PyAV decodes.

    Args:
        container: opened, with an audio stream.
        kind: what it is.
        name: name of the file, for messages.
        size: size of the file in bytes.
        frame: the frames that inspection found.
        behind: text to append if nothing can be decoded.

    Raises:
        AudioError: nothing of it can be decoded.
    """

    def __init__(
        self, container: InputContainer, kind: Container, name: str, size: int, frame: Frame, behind: str
    ) -> None:
        super().__init__(size, frame, 0)
        self._container, self._kind, self._name, self._behind = container, kind, name, behind
        self._stream = container.streams.audio[0]
        self._stream.codec_context.thread_count = 1  # whoever reads many files does so in threads of its own
        for stream in container.streams:
            stream.discard = Discard.default if stream is self._stream else Discard.all
        self._frames = self._decoded()
        self._rest: NDArray[np.float32] | None = None
        first = next(self._frames, None)
        if first is None:
            raise AudioError(f"{printable(name)}: it holds no samples{behind}")
        self._rate, self._channels = int(first.sample_rate), len(first.layout.channels)
        self._promised = _stated_frames(self._stream, container.duration, self._rate) if kind.states_length else 0
        self._streams = len(container.streams.audio)
        self._rest = self._samples(first)

    @property
    def codec(self) -> str:
        """FFmpeg's name of it."""
        return str(self._stream.codec_context.name)

    @property
    @override
    def rate(self) -> int:
        """Hz, of what is decoded; some headers of AAC state half of it."""
        return self._rate

    @property
    @override
    def channels(self) -> int:
        return self._channels

    @property
    @override
    def promised(self) -> int:
        """Frames that the header states; 0 where it states none, or where its format only guesses."""
        return self._promised

    @property
    @override
    def doubtful(self) -> bool:
        return super().doubtful or not self.promised

    @property
    @override
    def remarks(self) -> tuple[str, ...]:
        """That there are further audio streams, which are not used."""
        return (f"{STREAMS}: only the first of {self._streams} is used",) if self._streams > 1 else ()

    @override
    def read(self, frames: int) -> NDArray[np.float32]:
        """Decode.

        Raises:
            AudioError: they cannot be decoded, or the rate or the channels change.
        """
        parts, got = [], 0
        while got < frames:
            if self._rest is None:
                decoded = next(self._frames, None)
                if decoded is None:
                    break
                self._rest = self._samples(decoded)
            part = self._rest[: frames - got]
            self._rest = self._rest[len(part) :] if len(part) < len(self._rest) else None
            parts.append(part)
            got += len(part)
        return np.concatenate(parts) if parts else np.empty((0, self._channels), np.float32)

    def _decoded(self) -> Iterator[AudioFrame]:
        """Frames of the stream. Nothing may be missing between two of them; an invalid last packet is one that was cut.

        Raises:
            AudioError: a packet before the last cannot be decoded, or none can.
        """
        fault, seen = None, 0
        for frames, failure, last in self._packets():
            if fault and not last:
                raise AudioError(self._undecodable(fault, seen)) from fault
            fault = fault or failure
            for frame in frames:
                seen += frame.samples
                yield frame
        if fault and not seen:
            raise AudioError(self._undecodable(fault, seen)) from fault
        if fault and not self.frame.cut:
            self.frame = replace(self.frame, cut=f"its last part cannot be decoded ({_text(fault)})")

    def _packets(self) -> Iterator[tuple[list[AudioFrame], Exception | None, bool]]:
        """Frames of each packet, or why it has none, and whether the packets have ended and only the decoder's rest is left."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except _FAULTS as fault:
                yield [], fault, False
            else:
                yield frames, None, not packet.size

    def _undecodable(self, fault: Exception, seen: int) -> str:
        where = f" after {seen / self._rate:,.2f} s" if seen else ""
        return f"{printable(self._name)}: it cannot be decoded{where} ({_text(fault)}){self._behind}"

    def _samples(self, frame: AudioFrame) -> NDArray[np.float32]:
        """(frames, channels) in -1 to 1.

        Raises:
            AudioError: it is of another rate, or has other channels, than the frames before.
        """
        rate, channels = int(frame.sample_rate), len(frame.layout.channels)
        if (rate, channels) != (self._rate, self._channels):
            raise AudioError(
                f"{printable(self._name)}: it changes from {self._rate} Hz and {number_of(self._channels, 'channel')} to {rate} Hz and "
                f"{number_of(channels, 'channel')}; convert it to .wav or .flac"
            )
        array = frame.to_ndarray()
        planar = array.T if frame.format.is_planar else array.reshape(-1, channels)
        return in_unit_range(np.ascontiguousarray(planar))


def _stated_frames(stream: AudioStream, microseconds: int | None, rate: int) -> int:
    """Length by the stream's own header if it states one, else by that of the file."""
    if stream.duration and stream.time_base:
        return max(0, round(stream.duration * stream.time_base * rate))
    return max(0, round((microseconds or 0) * rate / 1_000_000))


def unlike_libsndfile(sound: ForeignSound) -> bool:
    """Whether a recording in a format that libsndfile reads is in a codec that it does not.

    Args:
        sound: opened by PyAV, after libsndfile failed.
    """
    return not sound.codec.startswith(_BY_LIBSNDFILE)


def _text(fault: Exception) -> str:
    text = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return printable(text).rstrip(".")
