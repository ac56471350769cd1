"""Searching folders for recordings: what is found, and what is passed over, counted and named by kind."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astune.data.formats import AV_SUFFIXES, INSTALL, SUFFIXES, UNREADABLE, readable_suffixes
from astune.errors import DataError, format_faults
from astune.printable import printable
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SYSTEM = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle"))
_PACKED = "part partial filepart crdownload download tmp gz bz2 xz zst dvc icloud"
_UNFINISHED = frozenset(f".{name}" for name in _PACKED.split())
_DOCUMENTS = (
    "md rst txt pdf html htm png jpg jpeg gif svg py ipynb sh yaml yml toml cff bib log ini db md5 sha256 sha1 lnk url"
)
_PAPERS = frozenset(
    ("README", "LICENSE", "LICENCE", "COPYING", "AUTHORS", "CHANGELOG", "NOTICE", "VERSION", "Makefile", "Icon\r")
)
_AUDIO = SUFFIXES | AV_SUFFIXES | UNREADABLE
_COMPANIONS = frozenset(f".{name}" for name in _DOCUMENTS.split())
_EXAMPLES = 3  # names shown of each kind
DANGLING = "links to nothing (content of git-annex, DVC or git-lfs that was not fetched?)"
_AGAIN = "links to a folder that is read already"
CIRCLE = "links to a folder above"
HIDDEN = "recordings with a hidden name (._ or .)"
BESIDE = "recordings beside the class folders"
NO_ROW = "recordings that no row names"
NO_RECORDINGS = "folders without recordings"
_PIPES = "things without an end (pipes, devices)"  # whoever reads one waits for ever


@strict_constructor
@dataclass(frozen=True)
class PassedOver:
    """Things of one kind that were found and left out."""

    kind: str
    """A phrase that begins with a noun in the plural: ``files in a format that cannot be read (.m4a)``."""
    count: int
    examples: tuple[str, ...]
    """Three names at most, below the data set's folder."""

    @property
    def counted(self) -> str:
        """How many there are of what: ``1 file in a format that cannot be read (.m4a)``."""
        noun, space, more = self.kind.partition(" ")
        return f"{self.count:,} {noun if self.count > 1 else noun.removesuffix('s')}{space}{more}"

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        names = ", ".join(map(printable, self.examples)) + (", ..." if self.count > len(self.examples) else "")
        return f"{self.counted} {'were' if self.count > 1 else 'was'} passed over: {names}"


@dataclass(frozen=True)
class Skipped:
    """One file, link or folder that was passed over."""

    path: str
    """Below the folder that was searched, with ``/``."""
    kind: str

    @property
    def reason(self) -> str:
        """Why, for one of them: ``passed over, as are all files in a format that cannot be read (.m4a)``."""
        return f"passed over, as are all {self.kind}"


@dataclass
class Found:
    """What a search found; paths are below the folder, with ``/``, and sorted."""

    folder: Path
    files: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files without an audio suffix; hidden ones are left out."""
    links: dict[str, int] = field(default_factory=dict)
    """Folders that are links, and how many files came through each."""

    @property
    def paths(self) -> list[Path]:
        """The files, as paths that can be opened."""
        return [self.folder / file for file in self.files]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was understood: the folders that are links."""
        used = {link: count for link, count in self.links.items() if count}
        if not used:
            return ()
        total, names = sum(used.values()), ", ".join(map(printable, list(used)[:_EXAMPLES]))
        more = ", ..." if len(used) > _EXAMPLES else ""
        clips = "1 recording comes" if total == 1 else f"{total:,} recordings come"
        folders = "the linked folder" if len(used) == 1 else f"{len(used)} linked folders:"
        return (f"Note: {clips} through {folders} {names}{more}",)

    def below(self, folder: str) -> Found:
        """What was found in a folder within.

        Args:
            folder: its path below the folder that was searched.

        Returns:
            That part, with the same names.
        """
        skipped = [one.path for one in self.skipped]
        first, last = _range(skipped, folder)
        itself = self.skipped[bisect_left(skipped, folder) : bisect_right(skipped, folder)]
        files, others = (names[slice(*_range(names, folder))] for names in (self.files, self.others))
        return Found(self.folder, files, [*itself, *self.skipped[first:last]], others)

    def holds(self) -> str:
        """What is there instead of recordings that can be read.

        Returns:
            ``4 files in a format that cannot be read (.m4a)``, or ``nothing``.
        """
        parts = [one.counted for one in passed_over(self.skipped)]
        if not parts and self.others:
            return f"no recordings, only {', '.join(map(printable, self.others[:_EXAMPLES]))}" + (
                ", ..." if self.others[3:] else ""
            )
        return " and ".join(parts) or "nothing"


def _range(names: Sequence[str], folder: str) -> tuple[int, int]:
    """The range of the names below a folder among sorted names."""
    return bisect_left(names, f"{folder}/"), bisect_left(names, f"{folder}0")  # 0 follows / in every encoding


def find_recordings(folder: Path) -> Found:
    """Search a folder and all folders in it; links to folders are followed, each folder is read once.

    Args:
        folder: folder to search.

    Returns:
        The files with a suffix that can be read here, and what was passed over.

    Raises:
        DataError: a folder cannot be listed; all of them.
    """
    found = Found(folder)
    refused: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, str]] = [("", "")]  # folders and the link that leads to each; real ones before links
    links: list[tuple[str, str]] = []
    while waiting or links:
        relative, link = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(folder / relative)  # noqa: PTH116 - of text, for speed
            # Above the data set, everything around it would be read too.
            circle = relative == link != "" and _leads_up(folder / relative)
            if circle or (status.st_dev, status.st_ino) in seen:
                found.skipped.append(Skipped(relative, CIRCLE if circle else _AGAIN))
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder / relative) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as fault:
            refused.append(f"{printable(relative or '.')} cannot be listed ({fault.strerror})")
            continue
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if _is_folder(entry):
                if is_hidden(entry.name):
                    _search_hidden(entry, name, found)
                elif entry.is_symlink():
                    links.append((name, name))
                    found.links[name] = 0
                else:
                    waiting.append((name, link))
            else:
                _sort_in(entry, name, found)
                if link and found.files and found.files[-1] == name:
                    found.links[link] += 1
        links.sort()
    if refused:
        raise DataError(format_faults(sorted(refused), printable(folder)))
    for names in (found.files, found.others):
        names.sort()
    found.skipped.sort(key=lambda one: one.path)
    return found


def _leads_up(link: Path) -> bool:
    return link.parent.resolve().is_relative_to(link.resolve())


def is_hidden(name: str) -> bool:
    """Whether a folder is the system's and no class: its name begins with a dot, or archives and disks bring it along.

    Args:
        name: the name of the folder.
    """
    return name.startswith(".") or name in _SYSTEM


def other_files(found: Found) -> list[Skipped]:
    """Files that have no audio suffix and may be recordings or tables nevertheless, to be counted.

    Args:
        found: what a search found.

    Returns:
        One entry each, but for what usually accompanies data: documents, pictures, licences.
    """
    return [
        Skipped(name, f"files in no audio format ({suffix or 'without a suffix'})")
        for name in found.others
        for suffix in [_suffix(name)]
        if suffix not in _COMPANIONS and name.rpartition("/")[2] not in _PAPERS
    ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _sort_in(entry: os.DirEntry[str], name: str, found: Found) -> None:
    """File a file under what it is."""
    kind = _kind(entry)
    if kind is not None:
        found.skipped.append(Skipped(name, kind))
    elif _suffix(entry.name) in readable_suffixes():
        found.files.append(name)
    elif not entry.name.startswith("."):
        found.others.append(name)


def _kind(entry: os.DirEntry[str]) -> str | None:
    """Why a recording is skipped; None if it is read or is not a recording."""
    suffix = _suffix(entry.name)
    hidden = entry.name.startswith(".")
    if suffix in _UNFINISHED and _is_recording(entry.name[: -len(suffix)].lstrip(".")):
        return f"recordings not finished, fetched or unpacked ({suffix})"
    if not hidden and entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - never raises
        return DANGLING
    if suffix not in _AUDIO:
        return None if hidden or entry.is_file() else _PIPES
    if hidden:
        return HIDDEN
    if suffix not in readable_suffixes() and suffix in AV_SUFFIXES:
        return f"files in a format that needs {INSTALL} ({suffix})"
    if suffix in UNREADABLE:
        return f"files in a format that cannot be read ({suffix})"
    return None if entry.is_file() else f"things named like a recording without being a file ({suffix})"


def _search_hidden(entry: os.DirEntry[str], name: str, found: Found) -> None:
    """Count the recordings of a hidden folder; links in it are not followed, and what cannot be listed is left."""
    for parent, _, files in os.walk(entry.path):
        inside = parent[len(entry.path) :].replace(os.sep, "/")
        found.skipped += [
            Skipped(f"{name}{inside}/{file}", HIDDEN) for file in files if _suffix(file) in readable_suffixes()
        ]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - of text, for speed


def passed_over(skipped: Iterable[Skipped]) -> tuple[PassedOver, ...]:
    """Count by kind.

    Args:
        skipped: skipped files, in any number.

    Returns:
        One entry a kind, in the order of their first names.
    """
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for one in skipped:
        kinds[one.kind].append(one.path)
    return tuple(PassedOver(kind, len(paths), tuple(paths[:_EXAMPLES])) for kind, paths in kinds.items())


def unnamed_recordings(folder: Path, named: Sequence[str], *, everywhere: bool = False) -> list[Skipped]:
    """Recordings in the folders of those which a table names, and which no row names.

    Args:
        folder: the data set's, which names are shown below.
        named: paths of the files of all rows.
        everywhere: whether to look in all of the folder, instead of only where named files are.

    Returns:
        The others, those with a hidden name among them.
    """
    rows: defaultdict[str, set[str]] = defaultdict(set)
    for path in named:
        parent, _, name = path.rpartition("/")
        rows[parent or "/"].add(name)
    rows = defaultdict(set, {os.path.abspath(parent): names for parent, names in rows.items()})  # noqa: PTH100
    if everywhere:
        for inside, deeper, _ in os.walk(os.path.abspath(folder)):  # noqa: PTH100 - as names are
            deeper[:] = [name for name in deeper if not is_hidden(name)]
            rows[inside].update(())
    skipped: list[Skipped] = []
    for parent, names in sorted(rows.items()):
        below = os.path.relpath(parent, folder).replace(os.sep, "/")
        below = parent if below.startswith("..") else below
        for entry in _listed(parent):
            if entry.name in names or _is_folder(entry):
                continue
            if _suffix(entry.name) in _AUDIO:
                path = entry.name if below == "." else f"{below}/{entry.name}"
                skipped.append(Skipped(path, HIDDEN if entry.name.startswith(".") else NO_ROW))
    return skipped


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # its files are named with the broken ones
        return []


def subfolders(folder: Path) -> list[str]:
    """Folders in a folder, links to folders too.

    Args:
        folder: folder to search, without hidden folders.

    Returns:
        Their names, sorted; empty if it is not a folder.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        entries = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as fault:
        raise DataError(f"{printable(folder)} cannot be listed ({fault.strerror})") from fault
    return sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))


def has_recordings(folder: Path) -> bool:
    """Whether a folder, or one in it, has a file that looks like a recording.

    Args:
        folder: folder to search; links are not followed.
    """
    return any(_is_recording(file) for _, _, files in os.walk(folder) for file in files)


def _is_recording(name: str) -> bool:
    return not name.startswith(".") and _suffix(name) in _AUDIO
