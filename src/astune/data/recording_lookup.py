r"""Which recording a label table, or a name in one, is of.

A sample: ``site1/garden.txt`` is of ``site1/garden.wav``; in another folder of audio it is of ``site1/garden.wav`` there, or else of the
only ``garden.wav`` below it. ``D:\field\garden.wav`` is that one too.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from astune.data.recordings import find_recordings
from astune.errors import DataError
from astune.files import user_path
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astune.data.recordings import Found


class Recordings:
    """The recordings below a folder, by name."""

    def __init__(self, folder: Path) -> None:
        """Search nothing yet.

        Args:
            folder: folder of the recordings.
        """
        self.folder = folder

    @classmethod
    def of(cls, audio_dir: str) -> Recordings:
        """Those of the option ``audio_dir``.

        Args:
            audio_dir: its value.

        Raises:
            DataError: the folder does not exist.
        """
        folder = user_path(audio_dir)
        if not folder.is_dir():
            raise DataError(f"audio_dir: there is no folder {printable(folder)}; give the folder of the recordings")
        return cls(folder)

    @cached_property
    def found(self) -> Found:
        """The recordings that a search of the folder finds."""
        return find_recordings(self.folder)

    @cached_property
    def _below(self) -> dict[tuple[str, str], list[str]]:
        """Recordings by folder and name, with and without suffix."""
        keyed: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for file in self.found.files:
            folder, _, name = file.rpartition("/")
            for key in {name, os.path.splitext(name)[0]}:  # noqa: PTH122 - of text, for speed
                keyed[composed(folder), composed(key)].append(file)
        return dict(keyed)

    @cached_property
    def _anywhere(self) -> dict[str, list[str]]:
        keyed: defaultdict[str, list[str]] = defaultdict(list)
        for (_, name), files in self._below.items():
            keyed[name] += files
        return dict(keyed)

    def of_table(self, folder: str, names: Sequence[str], *, anywhere: bool) -> list[str]:
        """Recordings that a table may be of.

        Args:
            folder: the folder of the table, below the one it was found in.
            names: names of a recording, with or without suffix; the first one that exists counts.
            anywhere: whether recordings in other folders may be meant.

        Returns:
            Their names below :attr:`folder`; two or more if it cannot be decided.
        """
        for name in names:
            if here := self._below.get((composed(folder), composed(name))):
                return here
        return next((there for name in names if anywhere and (there := self._anywhere.get(composed(name)))), [])

    def named(self, text: str) -> list[str]:
        """Recordings that a name in a table may mean.

        Args:
            text: a path as it is here, or from another machine; a name alone.

        Returns:
            Their names below :attr:`folder`; two or more if it cannot be decided.
        """
        slashed = text.replace("\\", "/")
        for name in (text, slashed):
            if name and os.path.isfile(os.path.join(self.folder, name)):  # noqa: PTH113, PTH118 - of text, for speed
                return [name]
        return self._anywhere.get(composed(slashed.rpartition("/")[2]), [])


def composed(name: str) -> str:
    """A name in one form of Unicode: macOS writes accents as characters of their own, and most else does not.

    Args:
        name: the name of a file.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def portable_names(names: Iterable[str]) -> dict[str, str]:
    """Names of recordings without the folder that absolute ones share, so that no name says where the data are: draws are keyed by names.

    Args:
        names: paths below the data set's folder, or absolute ones.

    Returns:
        The name to use for each.
    """
    names = list(names)
    folders = {name.rpartition("/")[0] or "/" for name in names if name.startswith("/")}
    start = len(os.path.commonpath(folders).rstrip("/")) + 1 if folders else 0
    return {name: name[start:] if name.startswith("/") else name for name in names}


class Lost:
    """Recordings that tables name and that are not there, or could be several: counted, the first one named."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._several: dict[str, tuple[str, Sequence[str]]] = {}

    def add(self, text: str, location: str, found: Sequence[str]) -> None:
        """Remember one.

        Args:
            text: the name, as the table has it.
            location: row of the table, for messages.
            found: what it may mean.
        """
        if found:
            self._several.setdefault(text, (location, found))
        else:
            self._first.setdefault(text, location)

    def faults(self, folder: Path) -> list[str]:
        """What is wrong.

        Args:
            folder: folder in which recordings were looked for.

        Returns:
            A sentence of each kind.
        """
        said = []
        for text, location in list(self._first.items())[:1]:
            others = len(self._first) - 1
            more = f", and {others:,} more {'are' if others > 1 else 'is'} missing" if others else ""
            said.append(
                f"{location}: there is no {printable(text)} below {printable(folder)}{more}; is audio_dir right?"
            )
        for text, (location, found) in list(self._several.items())[:1]:
            more = f", and {len(self._several) - 1:,} more like it" if len(self._several) > 1 else ""
            said.append(
                f"{location}: {printable(text)} may be {' or '.join(map(printable, found[:2]))}{more}; "
                "name it by its path below the folder"
            )
        return said
