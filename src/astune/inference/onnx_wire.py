"""What an ONNX file says of itself, read from its bytes before a runtime sees it. Neither onnx nor onnxruntime is needed.

An ONNX file is a protobuf message: fields with a number and a type, some of which are messages again. Tensors may name another file that
has their values. Files of ours never do, and one from elsewhere could name any file of this machine.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Numbers of the fields, by the kind of message that they are in, that lead to tensors."""
_PROPERTIES, _KEY, _VALUE = 14, 1, 2  # of a model: its metadata
_EXTERNAL, _LOCATION, _ELSEWHERE = 13, 14, 1  # of a tensor: the file, and whether its values are there
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes
_DEEPEST = 100  # messages; a graph in a graph is four more
_MOST_FIELDS = 1_000_000  # a graph of AST-base has some ten thousand


class WireError(ValueError):
    """The bytes are not an ONNX file, or not one that is used."""


def read_properties(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file.

    Args:
        path: the path of the file.

    Returns:
        Text by key.

    Raises:
        OSError: the file cannot be read.
        WireError: it is not an ONNX file, or takes values of tensors from another file.
    """
    with path.open("rb") as stream:
        if not stream.seek(0, 2):
            raise WireError("it is empty")
        # Closed with the last of the views, which a traceback may hold.
        return _Reading().properties(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))


class _Reading:
    """One pass over a file, which ends after so many fields."""

    def __init__(self) -> None:
        self.left = _MOST_FIELDS

    def properties(self, content: memoryview) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, value in self._fields(content):
            if number == _PROPERTIES and isinstance(value, memoryview):
                entry = {key: bytes(part) for key, part in self._fields(value) if isinstance(part, memoryview)}
                found[_text(entry.get(_KEY, b""))] = _text(entry.get(_VALUE, b""))
        self._refuse_external(content, "model", _DEEPEST)
        return found

    def _refuse_external(self, message: memoryview, kind: str, levels: int) -> None:
        """Look at all tensors of a message.

        Raises:
            WireError: one takes its values from another file.
        """
        if not levels:
            raise WireError("it is nested too deeply")
        inner = _INNER[kind]
        for number, value in self._fields(message):
            if kind == "tensor" and (number == _EXTERNAL or (number == _LOCATION and value == _ELSEWHERE)):
                raise WireError("it takes the values of a tensor from another file, and an exported graph is one file")
            if number in inner and isinstance(value, memoryview):
                self._refuse_external(value, inner[number], levels - 1)

    def _fields(self, message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
        """Numbers and values of a message's fields.

        Raises:
            WireError: it is damaged, or the file has too many.
        """
        at = 0
        while at < len(message):
            self.left -= 1
            if self.left < 0:
                raise WireError(f"it has more than {_MOST_FIELDS:,} parts")
            key, at = _varint(message, at)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            if wire == _BYTES:
                size, at = _varint(message, at)
            elif wire in {_FIXED64, _FIXED32}:
                size = 8 if wire == _FIXED64 else 4
            else:
                raise WireError("its parts have types that an ONNX file does not have")
            if size > len(message) - at:
                raise WireError("it is cut short")
            yield number, message[at : at + size]
            at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, and where the next one begins.

    Raises:
        WireError: it does not end.
    """
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # the last one
            return value, at + index + 1
    raise WireError("it is cut short")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise WireError("its metadata are not UTF-8 text") from fault
