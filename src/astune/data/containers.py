"""What the frame of an audio file says about its length, against the bytes that are there.

libsndfile hides most of this: it cuts a promise that is too long down to what there is, and never looks after the end that a
header states. Nothing is decoded here, and no more is read than the chunks' headers and the end of the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_STRAY = 128  # bytes after the end that need no sound: padding, a tag
_MP3_STRAY = 4096  # as writers of MP3 disagree whether the first frame counts
_OGG_PAGE = 65_307  # bytes of the largest one
_TAIL, _LARGE_TAIL = 1 << 16, 1 << 20
_CHUNKS = 1000  # more of them are no recording
_BOXES = 100_000  # of MPEG-4: a recording in fragments has two for each


@dataclass(frozen=True)
class Frame:
    """How the length that a file states fits its bytes."""

    cut: str = ""
    """What is missing, in words; empty where nothing is."""
    surplus: int = 0
    """Bytes of sound after the end that the header states."""
    unfinished: bool = False
    """Whether the header states no length: its writer could not go back to fill it in, or was stopped."""


_SOUND = Frame()


def inspect(file: BinaryIO) -> Frame:
    """Compare what a file says of its length with what is there.

    Args:
        file: whole and seekable; its position is changed.

    Returns:
        What does not fit; nothing where the format is another one or damaged beyond its first bytes.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(40)
    for known, examine in _FORMATS:
        if known(start):
            try:
                return examine(file, size)
            except (struct.error, IndexError):  # it ends within a header: whoever decodes it will say so
                return _SOUND
    return _SOUND


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(max(0, length))


@dataclass(frozen=True)
class _Chunks:
    """How a format made of chunks lays them out."""

    first: int
    """Offset of the first chunk."""
    header: str
    """Name and length, as :mod:`struct` has it."""
    sound: bytes
    """Name of the chunk that holds the samples."""
    inclusive: bool = False
    """Whether the length covers the header."""
    align: int = 2

    def walk(self, file: BinaryIO, size: int, position: int) -> Iterator[tuple[bytes, int, int]]:
        """Name, first byte and stated length of each chunk that begins before the end."""
        head = struct.calcsize(self.header)
        for _ in range(_CHUNKS):
            if position + head > size:
                return
            name, length = struct.unpack(self.header, _at(file, position, head))
            length -= head if self.inclusive else 0
            yield name, position + head, length
            if length < 0 or not _is_name(name):
                return
            position += head + length
            position += -position % self.align

    def examine(self, file: BinaryIO, size: int) -> Frame:
        """Find the samples, and what follows them."""
        long_length = None
        for name, begin, length in self.walk(file, size, self.first):
            if name == b"ds64":  # RF64 states lengths beyond 4 GiB there: of the file, of the samples
                long_length = struct.unpack("<Q", _at(file, begin + 8, 8))[0]
            if name != self.sound:
                continue
            stated = long_length if length == 0xFFFFFFFF and long_length is not None else length
            there = size - begin
            if stated < 0 or (stated > there and _stands_for_unknown(stated)):
                return Frame(unfinished=True)
            if stated > there:
                return Frame(cut=f"its header promises {stated:,} bytes of sound, and {there:,} are there")
            surplus = self._surplus(file, size, begin + stated)
            return Frame(surplus=surplus, unfinished=stated == 0 and surplus > 0)
        return _SOUND

    def _surplus(self, file: BinaryIO, size: int, end: int) -> int:
        """Bytes after the samples that are neither chunks, nor a tag, nor padding."""
        best = max(0, size - end)
        for begin in {end, end + -end % self.align}:  # not every writer pads
            stray = max(0, size - begin)
            for name, at, length in self.walk(file, size, begin):
                if not _is_name(name) or not (0 <= length <= size - at or name[:4] in _KNOWN_CHUNKS):
                    break
                stray = max(0, size - at - length)
            best = min(best, stray)
        rest = _at(file, size - best, min(best, 4096))
        return 0 if best <= _STRAY or rest[:3] in {b"TAG", b"ID3"} or not any(rest) else best


_KNOWN_CHUNKS = {
    b"LIST",
    b"list",
    b"bext",
    b"fact",
    b"cue ",
    b"smpl",
    b"id3 ",
    b"ID3 ",
    b"PEAK",
    b"iXML",
    b"JUNK",
    b"_PMX",
}


def _is_name(name: bytes) -> bool:
    return all(32 <= byte < 127 for byte in name[:4])


def _stands_for_unknown(length: int) -> bool:
    """Whether a length is what programs write that cannot go back: about 2 or 4 GiB, or all bits set."""
    return any(limit - 8192 <= length <= limit + 256 for limit in (2**31, 2**32)) or length >= 2**62


def _au(file: BinaryIO, size: int) -> Frame:
    order = ">" if _at(file, 0, 4) == b".snd" else "<"
    begin, stated = struct.unpack(f"{order}II", _at(file, 4, 8))
    there = size - begin
    if stated > there:
        if _stands_for_unknown(stated):
            return Frame(unfinished=True)
        return Frame(cut=f"its header promises {stated:,} bytes of sound, and {max(0, there):,} are there")
    surplus = there - stated if there - stated > _STRAY else 0
    return Frame(surplus=surplus, unfinished=stated == 0 and surplus > 0)


def _ogg(file: BinaryIO, size: int) -> Frame:
    begin = max(0, size - 2 * _OGG_PAGE)
    tail = _at(file, begin, size - begin)
    at = tail.rfind(b"OggS")
    while at >= 0 and len(tail) < at + 27:
        at = tail.rfind(b"OggS", 0, at)
    if at < 0:
        return Frame(cut="its last page is missing")
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    if at + 27 + tail[at + 26] + sum(segments) > len(tail):
        return Frame(cut="its last page ends before its time")
    if not tail[at + 5] & 4:
        return Frame(cut="its last page is missing")
    return Frame(surplus=size - _ogg_end(file, size))


def _ogg_end(file: BinaryIO, size: int) -> int:
    """End of the first recording of an Ogg file; stream recorders and `cat` may chain others to it; RFC 3533, section 4."""
    position, begun = 0, False
    while len(page := _at(file, position, 27 + 255)) >= 27 and page[:4] == b"OggS":
        begins = bool(page[5] & 2)
        if begins and begun:
            return position
        begun = not begins  # streams side by side begin with one page each, before all others
        position += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return size


def _mp3(file: BinaryIO, size: int) -> Frame:
    first = 0
    while (tag := _at(file, first, 10))[:3] == b"ID3" and len(tag) == 10:
        length = 0
        for byte in tag[6:10]:
            length = length << 7 | byte & 0x7F
        first += 10 + length + (10 if tag[5] & 0x10 else 0)
    head = _at(file, first, 200)
    if len(head) < 200 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return _SOUND
    mono, newest = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    info = 4 + ((17 if mono else 32) if newest else (9 if mono else 17))
    stated = None
    if head[info : info + 4] in {b"Xing", b"Info"} and head[info + 7] & 2:
        stated = struct.unpack(">I", head[info + (12 if head[info + 7] & 1 else 8) :][:4])[0]
    elif head[36:40] == b"VBRI":
        stated = struct.unpack(">I", head[46:50])[0]
    if not stated:
        return _SOUND
    there = size - first
    if stated > there + 512:
        return Frame(cut=f"its header promises {stated:,} bytes, and {there:,} are there")
    behind = _at(file, first + stated, 4)
    goes_on = behind[:3] == b"ID3" or (behind[:1] == b"\xff" and behind[1:2] >= b"\xe0")
    return Frame(surplus=there - stated) if goes_on and there - stated > _MP3_STRAY else _SOUND


def _flac(file: BinaryIO, size: int) -> Frame:
    info = _at(file, 8, 34)
    smallest, largest = struct.unpack(">HH", info[:4])
    largest_frame = int.from_bytes(info[7:10], "big")
    total = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    if not total:
        return Frame(unfinished=True)
    position, last = 4, False
    while not last:  # over the metadata, to the first frame
        block = _at(file, position, 4)
        last = bool(block[0] & 0x80)
        position += 4 + int.from_bytes(block[1:], "big")
    model = _at(file, position, 4)
    if len(model) < 4 or model[0] != 0xFF:
        return _SOUND
    begin = max(position, size - max(_TAIL, min(2 * largest_frame, _LARGE_TAIL)))
    tail = _at(file, begin, size - begin)
    at = len(tail)
    while (at := tail.rfind(model[:2], 0, at)) >= 0:
        found = _flac_frame(tail[at : at + 20].ljust(20, b"\0"), model)
        if found is not None:
            number, length = found
            begins = number if model[1] & 1 else number * (largest if smallest == largest else length)
            if begins >= total:
                return Frame(surplus=len(tail) - at)
            if begins + length < total:
                return Frame(cut=f"its header promises {total:,} samples, and it ends after {begins + length:,}")
            return _SOUND
    return _SOUND


def _mp4(file: BinaryIO, size: int) -> Frame:
    """The boxes of MPEG-4 and QuickTime; ISO 14496-12, section 4.2."""
    position, indexed, parts = 0, False, 0
    for _ in range(_BOXES):
        head = _at(file, position, 16)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head[:8])
        if name == b"ftyp" and position:
            return Frame(surplus=size - position)
        if length == 1:
            length = struct.unpack(">Q", head[8:])[0]
        stated, there = length or size - position, size - position
        indexed |= name in {b"moov", b"moof"}
        parts += name == b"mdat"
        if stated > there and name in {b"mdat", b"moov", b"moof"}:
            return Frame(cut=f"its header promises {stated:,} bytes, and {there:,} are there")
        if stated < 8:
            return _SOUND
        position += stated
    return _SOUND if indexed or not parts else Frame(cut="its index, which is written last, is missing")


def _matroska(file: BinaryIO, size: int) -> Frame:
    """The header and the segment of WebM and Matroska; RFC 8794, sections 4 and 5."""
    head, header = _element_size(_at(file, 4, 8))
    begin = 4 + head + (header or 0)
    if _at(file, begin, 4) != b"\x18\x53\x80\x67":
        return _SOUND
    head, stated = _element_size(_at(file, begin + 4, 8))
    begin += 4 + head
    if stated is None:
        return Frame(unfinished=True)
    there = size - begin
    if stated > there:
        return Frame(cut=f"its header promises {stated:,} bytes, and {there:,} are there")
    goes_on = _at(file, begin + stated, 4) == b"\x1a\x45\xdf\xa3"
    return Frame(surplus=there - stated) if goes_on else _SOUND


def _element_size(data: bytes) -> tuple[int, int | None]:
    """Bytes of a size of EBML, and the size; None for one that is unknown."""
    width = 9 - data[0].bit_length()
    bits = 7 * width
    value = int.from_bytes(data[:width], "big") & (1 << bits) - 1
    return width, None if value == (1 << bits) - 1 else value


def _flac_frame(head: bytes, model: bytes) -> tuple[int, int] | None:
    """Number and samples of a FLAC frame, where these bytes are the header of one like the first frame's; RFC 9639, section 9.1."""
    if head[2] & 15 != model[2] & 15 or head[3] & 15 != model[3] & 15 or head[3] >> 4 > 10:
        return None
    code = head[2] >> 4
    size = 0 if not head[4] & 0x80 else 8 - (head[4] ^ 0xFF).bit_length()  # bytes of the number, as in UTF-8
    if size == 1 or size > 7 or code == 0:
        return None
    number = head[4] if size == 0 else head[4] & (0x7F >> size)
    end = 5 + max(0, size - 1)
    for byte in head[5:end]:
        number = number << 6 | byte & 0x3F
    if code in {6, 7}:
        length = int.from_bytes(head[end : end + code - 5], "big") + 1
        end += code - 5
    else:
        length = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    end += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    return (number, length) if _crc8(head[:end]) == head[end] else None


def _crc8(data: bytes) -> int:
    remainder = 0
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder << 1 ^ (0x107 if remainder & 0x80 else 0)
    return remainder


_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], Frame]], ...] = (
    (lambda start: start[:4] in {b"RIFF", b"RF64"} and start[8:12] == b"WAVE", _Chunks(12, "<4sI", b"data").examine),
    (lambda start: start[:4] == b"RIFX", _Chunks(12, ">4sI", b"data").examine),
    (lambda start: start[:4] == b"FORM" and start[8:11] == b"AIF", _Chunks(12, ">4sI", b"SSND").examine),
    (lambda start: start[:4] == b"riff" and start[24:28] == b"wave", _Chunks(40, "<16sQ", _W64_DATA, True, 8).examine),
    (lambda start: start[:4] == b"caff", _Chunks(8, ">4sq", b"data", align=1).examine),
    (lambda start: start[:4] in {b".snd", b"dns."}, _au),
    (lambda start: start[:4] == b"OggS", _ogg),
    (lambda start: start[:4] == b"fLaC", _flac),
    (lambda start: start[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"pnot"}, _mp4),
    (lambda start: start[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda start: start[:3] == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0"), _mp3),
)
