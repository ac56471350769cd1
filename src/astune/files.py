"""Files that are whole or not there."""

from __future__ import annotations

import json
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

_METADATA = {"format": "pt"}


def read_text(path: Path, most: int, encoding: str = "utf-8") -> str:
    """Text of a file that somebody writes by hand, which is short; a wrong file may be of any length.

    Args:
        path: the file.
        most: letters.
        encoding: of the file.

    Returns:
        Its text.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is longer, or not text.
    """
    try:
        with path.open(encoding=encoding) as stream:
            text = stream.read(most + 1)
    except UnicodeDecodeError as fault:
        raise ValueError(f"it is not text in UTF-8: byte {fault.object[fault.start]:#04x}") from fault
    if len(text) > most:
        raise ValueError(f"it has more than {most:,} letters")
    return text


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file that is whole or not there.

    Args:
        path: the file.
        tensors: contiguous, by name.
    """
    from safetensors.torch import save  # which imports torch

    with replacing(path) as partial:
        # save_file would make it readable by its owner alone
        partial.write_bytes(save(tensors, metadata=_METADATA))


def saved_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Size of the file that :func:`save_tensors` writes, to the byte, without writing it; works on the meta device.

    Args:
        tensors: by name, in float32 or as integers.

    Returns:
        Its bytes: eight that say how long the header is, the header, and the tensors.
    """
    header: dict[str, Any] = {"__metadata__": _METADATA}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda one: (-one[1].element_size(), one[0])):
        start, end = end, end + tensor.numel() * tensor.element_size()
        kind = f"{'F' if tensor.is_floating_point() else 'I'}{8 * tensor.element_size()}"
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"))
    return 8 + 8 * math.ceil(len(text) / 8) + end  # the header is filled up to a multiple of eight


def write_text(path: Path, text: str) -> None:
    """Write a text file that is whole or not there.

    Args:
        path: the file.
        text: its content.
    """
    # A name that is not UTF-8 becomes the escape under which it is shown, which JSON reads back.
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there.

    Args:
        path: the file.
        content: of it.
    """
    with replacing(path) as partial, partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside the one to be written, which takes its name when it is whole and is gone where it is not."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
