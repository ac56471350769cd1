"""Whether a file of MATLAB is sound, before scipy reads it: scipy takes types from the file as they are, and a wrong one ends the process.

Level 5 of the format, which MATLAB writes since 1996, with numbers, text, cells and structures.
"""

from __future__ import annotations

import struct
import zlib
from math import prod
from typing import TYPE_CHECKING

from astune.errors import DataError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGEST = 1 << 28  # bytes, unpacked
_DEEPEST = 20  # structures in structures
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # bytes of a number, by its type
_TEXT = (1, 2, 4, 16, 17, 18)
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCTURE, _CHARACTERS, _NUMBERS = 1, 2, 4, range(6, 16)


def refuse_damaged(file: Path) -> None:
    """Refuse a file that scipy must not be given.

    Args:
        file: the file of MATLAB; whoever calls has seen that it is a file and not too large.

    Raises:
        DataError: it is damaged, of another level, or holds something else than numbers, text, cells and structures.
    """
    content = file.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[:4].count(0):
        raise DataError(f"{printable(file)} is not a readable MATLAB file: it is not of level 5; save it with -v7")
    try:
        for kind, data in _elements(content[128:], order):
            if kind == _COMPRESSED:
                _refuse_compressed(data, order)
            else:
                _refuse_matrix(kind, data, order, 0)
    except (ValueError, struct.error, zlib.error) as fault:
        raise DataError(f"{printable(file)} is not a readable MATLAB file: it is damaged ({fault})") from fault


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and data of each element; small ones have both numbers in one.

    Raises:
        ValueError: one ends after the file.
    """
    at = 0
    while at < len(content):
        first, size = struct.unpack_from(f"{order}II", content, at)
        kind, begin, step = first, at + 8, -size % 8
        if first >> 16:
            kind, size, begin, step = first & 0xFFFF, first >> 16, at + 4, 0
            if size > 4:
                raise ValueError("a small element is not small")
        end = begin + size
        if end > len(content):
            raise ValueError("an element ends after the file")
        yield kind, content[begin:end]
        at = at + 8 if first >> 16 else end + (0 if kind == _COMPRESSED else step)


def _refuse_compressed(data: bytes, order: str) -> None:
    unpacker = zlib.decompressobj()
    inside = unpacker.decompress(data, _LARGEST)
    if not unpacker.eof:
        raise ValueError("what is compressed has no end, or is too large")
    for kind, part in _elements(inside, order):
        _refuse_matrix(kind, part, order, 0)


def _refuse_matrix(kind: int, data: bytes, order: str, depth: int) -> None:
    """Refuse an array whose parts are not of the types and lengths that its header says.

    Raises:
        ValueError: it has such.
    """
    if kind != _MATRIX or depth > _DEEPEST:
        raise ValueError(f"an element of type {kind} in the place of an array")
    if not data and depth:
        return  # an empty cell
    parts = _elements(data, order)
    flags, dims, name = (next(parts, (0, b"")) for _ in range(3))
    if flags[0] != 6 or len(flags[1]) != 8 or dims[0] != 5 or len(dims[1]) % 4 or name[0] != 1:
        raise ValueError("an array has no header")
    shape = struct.unpack(f"{order}{len(dims[1]) // 4}i", dims[1])
    if not 2 <= len(shape) <= 32 or min(shape) < 0 or (count := prod(shape)) > _LARGEST:
        raise ValueError("an array has a shape that no array has")
    what, further = struct.unpack(f"{order}II", flags[1])[0], list(parts)
    if what & 0xFF == _CHARACTERS:
        if len(further) != 1 or further[0][0] not in _TEXT or len(further[0][1]) > 4 * count:
            raise ValueError("a text is of another type or length than its header says")
        return
    if what & 0xFF in _NUMBERS:
        wanted = 2 if what & 0x0800 else 1  # complex numbers have a second part
        if len(further) != wanted or any(of not in _SIZES or len(part) != count * _SIZES[of] for of, part in further):
            raise ValueError("numbers are of another type or length than their header says")
        return
    if what & 0xFF == _STRUCTURE and len(further) >= 2:
        (of_length, length), (of_names, names), *further = further
        width = struct.unpack(f"{order}i", length)[0] if of_length == 5 and len(length) == 4 else 0
        if width < 1 or of_names != 1 or len(names) % width:
            raise ValueError("a structure has no names")
        count *= len(names) // width
    elif what & 0xFF != _CELL:
        raise ValueError("it holds something else than numbers, text, cells and structures")
    if len(further) != count:
        raise ValueError("a cell or a structure has other parts than its header says")
    for of, part in further:
        _refuse_matrix(of, part, order, depth + 1)
