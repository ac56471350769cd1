"""An opened recording, whoever decodes it; and the one that libsndfile decodes."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import soundfile
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from astune.data.containers import Frame

_BLOCK = 1_008_000  # samples of all channels that are decoded at a time; a multiple of 10 frames, which PAF of 24 bits is packed in
_BEYOND = 16_000  # frames asked for beyond those that the header states; a multiple of 10 too
DENSEST = 64
"""Most frames that a byte of a file can hold; more are only silence, or the header is wrong."""
_EXACT = {  # where a seek gives the samples that reading up to there gives: each sample by itself, or FLAC, which counts its frames
    "containers": frozenset(("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")),
    "samples": frozenset(("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
}
_ENDLESS = 2**62  # frames: libsndfile's word for a length that the header does not state


@dataclass
class Sound(ABC):
    """An opened recording, which is read once from its beginning."""

    size: int
    """Size of the file in bytes."""
    frame: Frame
    position: int
    """The frame that is decoded next."""

    @property
    @abstractmethod
    def rate(self) -> int:
        """Sampling rate in Hz."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels."""

    @property
    @abstractmethod
    def promised(self) -> int:
        """Frames that the header states; 0 where it states none."""

    @property
    def doubtful(self) -> bool:
        """Whether the frames have to be counted."""
        unknown = self.frame.unfinished and self.promised == 0
        return bool(self.frame.cut or self.frame.surplus or unknown) or self.promised > DENSEST * self.size

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is suspicious of it, as :attr:`astune.data.audio.Facts.doubts`."""
        return ()

    @abstractmethod
    def read(self, frames: int) -> NDArray[np.float32]:
        """Decode.

        Args:
            frames: at most so many.

        Returns:
            (frames, channels); none of them at the end.

        Raises:
            AudioError: they cannot be decoded. libsndfile's own errors become one in :func:`astune.data.opening.open_sound`.
        """

    def sought(self, first: int) -> int:
        """Seek to a frame where that is exact, and say how many frames were passed over: all, or none.

        Args:
            first: the frame.
        """
        del first
        return 0

    def blocks(self, wanted: int | None = None, first: int = 0) -> Iterator[NDArray[np.float32]]:
        """Decoded frames from here on, or from a later one.

        Args:
            wanted: number of frames; all where None.
            first: frames that are skipped before them; they are decoded only if a seek would change the samples.

        Yields:
            (frames, channels) each.
        """
        step = max(1, _BLOCK // self.channels)
        before = first - self.sought(first)
        last = None if wanted is None else before + wanted
        got = 0
        while last is None or got < last:
            # libsndfile writes zeros over what it is given and does not fill: megabytes for each short file.
            left = self.promised - self.position
            likely = min(step, max(left, 0) // 10 * 10 + _BEYOND) if self.promised else step
            block = self.read(likely if last is None else min(likely, last - got))
            if not len(block):
                return
            self.position += len(block)
            got += len(block)
            if got > before:
                yield block[max(before - got + len(block), 0) :]

    def count(self) -> int:
        """Decode the rest, and say how many frames it has."""
        return sum(len(block) for block in self.blocks())


class Straight(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """A file that is read from its beginning to its end.

    soundfile seeks after each block to where it is already. MP3 and Opus then decode the next block from a fresh state, other numbers;
    and where the header states another length than there is, the seek fails.
    """

    def seekable(self) -> bool:
        """Never, so that nothing seeks."""
        return False


class PlainSound(Sound):
    """A recording that libsndfile decodes.

    Args:
        file: opened.
        size: size of the file in bytes.
        frame: the frames that inspection found.
    """

    def __init__(self, file: Straight, size: int, frame: Frame) -> None:
        super().__init__(size, frame, 0)
        self._file = file

    @property
    @override
    def rate(self) -> int:
        return int(self._file.samplerate)

    @property
    @override
    def channels(self) -> int:
        return int(self._file.channels)

    @property
    @override
    def promised(self) -> int:
        return 0 if self._file.frames > _ENDLESS else int(self._file.frames)

    @property
    @override
    def doubtful(self) -> bool:
        return super().doubtful or self._file.frames > _ENDLESS

    @override
    def read(self, frames: int) -> NDArray[np.float32]:
        return cast("NDArray[np.float32]", self._file.read(frames, dtype="float32", always_2d=True))

    @override
    def sought(self, first: int) -> int:
        exact = self._file.format in _EXACT["containers"] and self._file.subtype in _EXACT["samples"]
        if not exact or self.doubtful or not 0 < first < self.promised:
            return 0
        self._file.seek(first, io.SEEK_CUR)
        self.position += first
        return first
