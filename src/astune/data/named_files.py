r"""File names as tables and lists give them: relative to the data set's folder, absolute, or written on Windows.

A sample: ``audio\dog.wav`` is read as ``audio/dog.wav`` unless a file of that very name exists, and announced; ``C:\audio\dog.wav``
can only be refused.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from typing import TYPE_CHECKING, Literal

from astune.errors import DataError
from astune.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")  # macOS writes the second, and most else the first
_LARGEST = 1 << 30  # bytes of a table, which is held in memory
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def windows_path(text: str) -> bool:
    """Whether a path begins with a drive's letter or a server, as on Windows.

    Args:
        text: the path.
    """
    return os.name != "nt" and bool(_DRIVE.match(text))


def windows_fault(text: str) -> str | None:
    """Why the name of a file cannot be used.

    Args:
        text: the name in a table or list.

    Returns:
        A sentence, or None.
    """
    if not windows_path(text):
        return None
    return f"{printable(text)} is a path of Windows; write it relative to the data set's folder"


class NamedFiles:
    """Reads the names of one table or list, and remembers what was understood."""

    def __init__(self, folder: Path) -> None:
        """Start with none.

        Args:
            folder: the folder that names are relative to.
        """
        self.folder = str(folder)
        self.turned: list[str] = []
        self.composed: list[str] = []

    def path(self, text: str) -> str:
        """A name as a path with ``/``.

        Args:
            text: a name that is not a :func:`windows_path`.

        Returns:
            The name, with backslashes turned where no file has them in its name, and in that form of Unicode which the file has.
        """
        if text.isascii() and "\\" not in text:
            return text
        if self._is_there(text):
            return text
        slashed = text.replace("\\", "/")
        if slashed != text:
            self.turned.append(text)
        for form in () if slashed.isascii() else _FORMS:
            other = unicodedata.normalize(form, slashed)
            if other != slashed and self._is_there(other):
                self.composed.append(slashed)
                return other
        return slashed

    def _is_there(self, text: str) -> bool:
        return os.path.lexists(os.path.join(self.folder, text))  # noqa: PTH118 - of text, for speed

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on how the names were understood."""
        said: list[str] = []
        if self.turned:
            first = printable(self.turned[0])
            shown = first.replace("\\", "/")
            said.append(f"Note: {_have(self.turned)} backslashes between folders and file: {first} is read as {shown}")
        if self.composed:
            first = printable(self.composed[0])
            said.append(
                f"Note: {_have(self.composed)} another form of Unicode than the file (NFC, NFD): {first}, for example"
            )
        return tuple(said)


def _have(names: list[str]) -> str:
    return "1 name has" if len(names) == 1 else f"{len(names):,} names have"


def refuse_pipes(file: Path, kind: str) -> None:
    """Refuse what has no end, or more than a table has, before it is read.

    Args:
        file: the file that is read whole.
        kind: what it should be, for messages.

    Raises:
        DataError: it is a pipe, a socket or a device, or too large.
        OSError: it is not there.
    """
    status = file.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # a folder has a sentence of its own
        raise DataError(
            f"{printable(file)} is not a readable {kind} file: it is a pipe, a socket or a device; save it to a file"
        )
    if status.st_size > _LARGEST:
        raise DataError(
            f"{printable(file)} has {status.st_size:,} bytes; a {kind} file may have up to {_LARGEST:,}: divide it"
        )


def below(folder: Path, text: str) -> str:
    """A name without a way around, so that one file has one name.

    Args:
        folder: the folder that names are relative to.
        text: a name with ``/``, perhaps absolute or with ``..``.

    Returns:
        The path relative to the folder; unchanged if the file is elsewhere.
    """
    if not text.startswith("/") and ".." not in text:
        return text
    root = os.path.abspath(folder)  # noqa: PTH100 - links are files of their own
    whole = os.path.normpath(os.path.join(root, text))  # noqa: PTH118 - links are files of their own
    return whole.removeprefix(f"{root}/")
