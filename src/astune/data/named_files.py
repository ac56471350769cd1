r"""File names as tables and lists give them: relative to the data set's folder, absolute, or written on Windows.

A sample: ``audio\dog.wav`` is read as ``audio/dog.wav`` unless a file of that very name exists, and announced; ``C:\audio\dog.wav``
can only be refused.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from astune.console import printable

if TYPE_CHECKING:
    from pathlib import Path

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
        text: as it stands in a table or list.

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
            folder: that names are relative to.
        """
        self.folder = str(folder)
        self.turned: list[str] = []

    def path(self, text: str) -> str:
        """A name as a path with ``/``.

        Args:
            text: a name that is no :func:`windows_path`.

        Returns:
            The name, with backslashes turned where no file has them in its name.
        """
        if "\\" not in text or os.path.lexists(os.path.join(self.folder, text)):  # noqa: PTH118 - of text, for speed
            return text
        self.turned.append(text)
        return text.replace("\\", "/")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was understood."""
        if not self.turned:
            return ()
        names = "1 name has" if len(self.turned) == 1 else f"{len(self.turned):,} names have"
        first = printable(self.turned[0])
        shown = first.replace("\\", "/")
        return (f"Note: {names} backslashes between folders and file: {first} is read as {shown}",)
