"""Files that are whole or not there."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from safetensors.torch import save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file that is whole or not there.

    Args:
        path: the file.
        tensors: contiguous, by name.
    """
    with replacing(path) as partial:
        # save_file would make it readable by its owner alone
        partial.write_bytes(save(tensors, metadata={"format": "pt"}))


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
