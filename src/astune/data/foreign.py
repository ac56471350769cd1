"""What libsndfile does not decode: MPEG-4, WebM, AAC, Windows Media and more, by PyAV (``pip install 'astune[av]'``), which is FFmpeg.

A file is known by its first bytes and opened as what they say. FFmpeg is never left to guess: among its formats are playlists, which name
other files and addresses. It is given the open file and no name, because a name such as ``take: 2.m4a`` would be an address to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_LOOKED_AT = 512  # bytes of the beginning


@dataclass(frozen=True)
class Container:
    """A format that is known by its first bytes."""

    marks: tuple[tuple[int, bytes], ...]
    """Pairs of an offset in bytes and the bytes expected there."""
    words: str
    """Name of the format in messages."""
    format: str
    """FFmpeg's name for it."""

    @property
    def states_length(self) -> bool:
        """Whether its header states a length; that of others is guessed from a bit rate."""
        return self.format in {"mov", "matroska"}


_CONTAINERS = (
    Container(((4, b"ftyp"),), "MPEG-4 (.m4a, .mp4)", "mov"),
    *(Container(((4, mark),), "QuickTime (.mov)", "mov") for mark in (b"moov", b"mdat", b"wide", b"pnot")),
    Container(((0, b"\x1a\x45\xdf\xa3"),), "WebM or Matroska (.webm, .mka)", "matroska"),
    Container(((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),), "Windows Media (.wma)", "asf"),
    Container(((0, b"#!AMR"),), "AMR (.amr)", "amr"),
    Container(((0, b"RIFF"), (8, b"AVI ")), "AVI (.avi)", "avi"),
    Container(((0, b"FLV\x01"),), "Flash video (.flv)", "flv"),
    Container(((0, b".RMF"),), "RealMedia (.rm)", "rm"),
    Container(((0, b".ra\xfd"),), "RealAudio (.ra)", "rm"),
    Container(((0, b"\x00\x00\x01\xba"),), "MPEG (.mpg)", "mpeg"),
    Container(((0, b"\x47"), (188, b"\x47"), (376, b"\x47")), "an MPEG transport stream (.ts)", "mpegts"),
    Container(((0, b"\x0b\x77"),), "AC-3 (.ac3)", "ac3"),
    Container(((0, b"\x7f\xfe\x80\x01"),), "DTS (.dts)", "dts"),
    Container(((0, b"MAC "),), "Monkey's Audio (.ape)", "ape"),
    Container(((0, b"wvpk"),), "WavPack (.wv)", "wv"),
    Container(((0, b"TTA1"),), "True Audio (.tta)", "tta"),
    Container(((0, b"tBaK"),), "TAK (.tak)", "tak"),
    Container(((0, b"DSD "),), "DSD (.dsf)", "dsf"),
    Container(((0, b"FRM8"),), "DSD (.dff)", "iff"),
    Container(((0, b"MPCK"),), "Musepack (.mpc)", "mpc8"),
    Container(((0, b"MP+"),), "Musepack (.mpc)", "mpc"),
)  # fmt: skip
_ADTS = Container((), "AAC (.aac)", "aac")
_SHARED = (  # containers that libsndfile reads, with codecs that it does not
    Container(((0, b"OggS"),), "Ogg", "ogg"),
    Container(((0, b"RIFF"), (8, b"WAVE")), "WAV", "wav"),
    Container(((0, b"caff"),), "CAF", "caf"),
)


def foreign_container(file: BinaryIO) -> Container | None:
    """What a file is, where that is a format that libsndfile does not decode.

    Args:
        file: seekable; its position is changed.

    Returns:
        The format; None for all others.
    """
    start = _start(file)
    found = _matching(start, _CONTAINERS)
    if found is None and (_is_adts(start) or (start[:3] == b"ID3" and _is_adts(_behind_tags(file, start)))):
        return _ADTS
    return found


def shared_container(file: BinaryIO) -> Container | None:
    """What a file is, where libsndfile reads its format, but not with every codec.

    Args:
        file: seekable; its position is changed.

    Returns:
        The format; None for all others.
    """
    return _matching(_start(file), _SHARED)


def _start(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(_LOOKED_AT)


def _matching(start: bytes, containers: tuple[Container, ...]) -> Container | None:
    for container in containers:
        if all(start.startswith(mark, offset) for offset, mark in container.marks):
            return container
    return None


def _is_adts(start: bytes) -> bool:
    """Whether this is a header of AAC in ADTS: a sync word as of MP3, and the layer that MP3 never has; ISO 14496-3, 1.A.2."""
    return len(start) > 7 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0 and start[2] >> 2 & 15 < 13


def _behind_tags(file: BinaryIO, start: bytes) -> bytes:
    length = 0
    for byte in start[6:10]:
        length = length << 7 | byte & 0x7F
    file.seek(10 + length)
    return file.read(16)
