"""The rows of a data set's tables, and the clips that they become: whole recordings, or parts of them.

A sample: ``garden.wav,robin`` is the clip ``garden.wav``; with the cells ``12.5`` and ``14`` under start and end it is a region of it.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from astune.data.clip import Clip, Region
from astune.data.durations import measure_durations
from astune.data.label_cells import ONE_EACH, LabelCells, how_read, labels_of_indicators
from astune.data.labels import clean_label, label_fault
from astune.data.named_files import NamedFiles, windows_fault, windows_path
from astune.data.recording_lookup import Lost, portable_names
from astune.data.regions import Cut, LabelledRegion, cut
from astune.data.rows import refuse, whole_number
from astune.data.splits import split_fault, split_named
from astune.data.time_cells import Seconds
from astune.plurals import number_of
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.columns import TimeColumns
    from astune.data.hold_out import Sides
    from astune.data.options import DataOptions
    from astune.data.recording_lookup import Recordings
    from astune.data.recordings import Skipped
    from astune.data.rows import Row
    from astune.data.splits import SplitName
    from astune.data.table_columns import Columns

_SHOWN = 3  # names of columns in a fault
_LONG_FORM = re.compile(r"//|(?:^|/)\.(?:/|$)|/$")  # of a path that has a shorter one


@dataclass(frozen=True)
class Opened:
    """A table that was read, and not yet understood row by row."""

    file: Path
    rows: Sequence[Row]
    split: SplitName | None
    """The split that the name of its folder gives; None where it gives none."""
    columns: Columns


def cells_of(tables: Sequence[Opened], options: DataOptions, remarks: list[str]) -> LabelCells:
    """Decide how the labels of all tables of a data set are read.

    Args:
        tables: all.
        options: the user's task.
        remarks: what was decided is added.

    Returns:
        Several labels where a table has columns of 0 and 1, or a text says so; unless the user's task is single-label.
    """
    texts = [one for one in tables if not one.columns.one_hot]
    task = options.task or ("multi-label" if len(texts) < len(tables) else None)
    cells = {row[one.columns.labels[0]] for one in texts for _, row in one.rows}
    shown = f"column {printable(texts[0].columns.labels[0])}" if texts else ""
    found = how_read(cells, task, shown=shown, plural=any(one.columns.plural for one in texts))
    remarks += [f"Note: {found.remark}"] if found.remark else []
    return found


@dataclass(slots=True)
class _Entry:
    """A row of the table whose values can be used."""

    name: str
    path: Path
    labels: tuple[str, ...]
    location: str
    key: str
    """The absolute path without links followed: links are files of their own."""
    span: tuple[float, float] | None
    split: SplitName | None
    fold: int | None
    group: str | None


@dataclass
class TableRows:
    """What the tables of a data set gave so far."""

    root: Path
    audio: Recordings | None
    """The recordings, if they are not in the folder of the tables."""
    options: DataOptions
    expected: dict[Path, Path] = field(default_factory=dict)
    """Recordings of tables that may have no rows, because nothing was found in them."""
    unfinished: tuple[str, ...] = ()
    """Recordings on record without a finished table."""
    remarks: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    group_like: list[str] = field(default_factory=list)
    sides: Sides = field(default_factory=dict)
    cells: LabelCells = ONE_EACH
    """How the labels of all tables are read."""
    divided: bool = False
    """Whether the data say which clips are of which split."""
    locations: dict[str, str] = field(default_factory=dict)
    _entries: list[_Entry] = field(default_factory=list)
    _empty: dict[str, Path] = field(default_factory=dict)
    _lost: Lost = field(default_factory=Lost)
    _names: dict[str, str] = field(default_factory=dict)
    """The first name of each recording, by its key: rows that name one file in two ways are of one recording."""
    _found: dict[str, str] = field(default_factory=dict)
    """Names that were found by their last part, and what they are."""

    @property
    def files(self) -> list[str]:
        """Absolute paths of all recordings that are known: named, on record, or noted as unfinished."""
        known = [*map(str, self.expected.values()), *self.unfinished]
        return list(dict.fromkeys([*(entry.key for entry in self._entries), *known]))

    def nothing_in(self, table: Path) -> None:
        """Add the recording of a table without rows: somebody listened to it.

        Args:
            table: one of those expected.
        """
        name = self._located(str(self.expected[table]), self._line_prefix(table))
        if name is not None:
            self._empty[name] = self._folder(table) / name

    def add(self, opened: Opened) -> None:
        """Read the rows of a table.

        Args:
            opened: the table; :attr:`cells` say how its labels are read.

        Raises:
            DataError: some have no usable value; all of them.
        """
        table, columns = opened.file, opened.columns
        folder = self._folder(table)
        names, seconds = NamedFiles(folder), Seconds()
        prefix = "" if table.parent == self.root or self.audio else f"{table.parent.relative_to(self.root).as_posix()}/"
        line_prefix = self._line_prefix(table)
        absolute = os.path.abspath(folder)  # noqa: PTH100 - links are files of their own
        faults: list[str] = []
        files: dict[str, tuple[str, Path, str]] = {}  # many rows may be of one
        for line, row in opened.rows:
            faulty = len(faults)
            labels = self._labels(line, row, columns, faults)
            faults += self._faults(line, row, columns)
            given = opened.split or (split_named(row["split"]) if row.get("split") else None)
            fold = whole_number("fold", line, row, faults) if "fold" in row else None
            span = _span(line, row, columns.times, seconds, faults)
            if len(faults) > faulty:
                continue
            name = (
                self._located(row[columns.file], f"{line_prefix}{line}")
                if self.audio
                else names.path(row[columns.file])
            )
            if name is None:
                continue
            for label in labels:
                self.locations.setdefault(label, f"{line_prefix}{line}")
            if name not in files:
                key = os.path.normpath(os.path.join(absolute, name))  # noqa: PTH118 - of text, for speed
                named = name if name.startswith("/") else prefix + name
                named = Path(named).as_posix() if _LONG_FORM.search(named) else named
                files[name] = (self._names.setdefault(key, named), Path(folder, name), key)
            named, path, key = files[name]
            side = given if fold is None else fold
            if side is not None:
                for column in self.group_like:
                    self.sides.setdefault(column, defaultdict(set))[row.get(column, "")].add(side)
            entry = _Entry(named, path, labels, f"{line_prefix}{line}", key, span, given, fold, row.get("group"))
            self._entries.append(entry)
        seconds.finish(table.name, faults, self.remarks)
        refuse(table, faults)
        self.remarks += names.remarks

    def finish(self, shown: Path) -> None:
        """Refuse what all tables together have wrong.

        Args:
            shown: the table or folder, for the message.

        Raises:
            DataError: a recording is not there, or is named twice as a whole.
        """
        whole: defaultdict[str, list[_Entry]] = defaultdict(list)
        parts: dict[str, _Entry] = {}
        for entry in self._entries:
            if entry.span is None:
                whole[entry.key].append(entry)
            else:
                parts.setdefault(entry.key, entry)
        faults = self._one_clip_each(whole)
        faults += [
            f"{printable(name)} is named as a whole, and parts of it in other rows" for name in whole if name in parts
        ]
        # Whole files that are not there are found with the broken ones, which may be left out.
        absent = [entry for key, entry in parts.items() if not os.path.exists(key)]  # noqa: PTH110 - of text, for speed
        faults += [f"{entry.location}: there is no recording {printable(entry.name)}" for entry in absent]
        if self.audio:
            faults += self._lost.faults(self.audio.folder)
        refuse(shown, faults)
        if self._found:
            old, new = next(iter(self._found.items()))
            many = "1 recording is" if len(self._found) == 1 else f"{len(self._found):,} recordings are"
            self.remarks.append(f"Note: {many} found by name alone: {printable(old)} as {printable(new)}")
        names = portable_names([*(entry.name for entry in self._entries), *self._empty])
        for entry in self._entries:
            entry.name = names[entry.name]
        self._empty = {names[name]: path for name, path in self._empty.items()}

    def _one_clip_each(self, whole: dict[str, list[_Entry]]) -> list[str]:
        """Put the rows of each whole recording together, where a clip may have several labels; else what is wrong with such rows."""
        again = {name: rows for name, rows in whole.items() if len(rows) > 1}
        faults = []
        if not self.cells.several:
            faults = [f"{printable(name)} is named {len(rows)} times" for name, rows in again.items()]
            if faults:
                faults[0] += (
                    "; if rows are parts of recordings, name the columns of times start and end, in seconds; if a clip may have several "
                    "labels, set task=multi-label"
                )
            return faults
        dropped = set()
        for name, (first, *others) in again.items():
            faults += [
                f"{printable(name)} is in {what} {getattr(first, what)} ({first.location}) and {getattr(other, what)} ({other.location})"
                for other in others
                for what in ("split", "fold", "group")
                if getattr(first, what) != getattr(other, what)
            ]
            first.labels = tuple(dict.fromkeys(label for one in (first, *others) for label in one.labels))
            dropped |= set(map(id, others))
        self._entries = [entry for entry in self._entries if id(entry) not in dropped]
        if again:
            verb = "has" if len(again) == 1 else "have"
            self.remarks.append(
                f"Note: {number_of(len(again), 'recording')} {verb} several rows, and the labels of all of them"
            )
        return faults

    def split_folders(self) -> dict[str, SplitName]:
        """Folders of files that are named as splits, and not as the class of what is in them."""
        folders = {(entry.name.rpartition("/")[0], entry.labels) for entry in self._entries}
        every = all(folder for folder, _ in folders)
        shared = len(os.path.commonpath({folder for folder, _ in folders})) if folders and every else 0
        parts = {(part, labels) for folder, labels in folders for part in folder[shared:].split("/")}
        return {part: split for part, labels in parts if (split := split_named(part)) and part not in labels}

    def clips(self, shown: Path) -> Cut:
        """The clips: rows without times are whole recordings, unless windows are asked for.

        Args:
            shown: the table or folder, for messages.

        Raises:
            DataError: see :func:`astune.data.regions.cut`.
        """
        whole = [entry for entry in self._entries if entry.span is None]
        lengths: dict[str, float | None] = {}
        if self.options.windowed:  # what cannot be opened stays whole, and is named with the other broken files
            lengths = dict(
                zip((one.name for one in whole), measure_durations([Region(one.path) for one in whole]), strict=True)
            )
            for one in whole:
                length = lengths[one.name]
                one.span = (0.0, length) if length else None
            whole = [entry for entry in whole if entry.span is None]
        clips = [Clip(one.name, one.path, one.labels, split=one.split, fold=one.fold, group=one.group) for one in whole]
        parts = [(one, one.span) for one in self._entries if one.span is not None]
        if not (parts or self.options.windowed):
            return Cut(clips, [], {})
        regions = [
            LabelledRegion(one.name, one.path, start, end, label, one.location, one.split, one.fold, one.group)
            for one, (start, end) in parts
            for label in one.labels or ("",)
        ]
        recordings = {one.name: one.path for one, _ in parts} | self._empty
        made = cut(
            regions,
            self.options,
            events=False,
            recordings=recordings,
            lengths=lengths,
            several=self.cells.several,
            source=printable(shown),
        )
        return replace(made, clips=[*clips, *made.clips])

    def _folder(self, table: Path) -> Path:
        return self.audio.folder if self.audio else table.parent

    def _line_prefix(self, table: Path) -> str:
        """What line numbers of a table are put after, in messages."""
        inside = table.relative_to(self.root).as_posix()
        return f"{inside} line " if "/" in inside or self.expected else "line "

    def _located(self, text: str, location: str) -> str | None:
        """A name as it is below the folder of recordings; None where it is lost."""
        if self.audio is None or (os.path.isabs(text) and os.path.isfile(text)):  # noqa: PTH113, PTH117 - text, for speed
            return text
        if text in self._found:
            return self._found[text]
        found = self.audio.named(text)
        if len(found) != 1:
            self._lost.add(text, location.removesuffix(" line "), found)
            return None
        if found[0] != text:
            self._found[text] = found[0]
        return found[0]

    def _labels(self, line: int, row: dict[str, str], columns: Columns, faults: list[str]) -> tuple[str, ...]:
        """The labels of a row; what is wrong with them is added to the faults."""
        if columns.one_hot:
            labels, shown = (
                labels_of_indicators(line, row, columns.labels, faults),
                f"columns {', '.join(columns.labels[:_SHOWN])}",
            )
        else:
            shown = columns.labels[0]
            if fault := self.cells.fault(row[shown]):
                faults.append(f"line {line}: {printable(shown)} {fault}")
                return ()
            labels = self.cells.labels(row[shown])
        faults += [f"line {line}: {fault}" for label in labels if (fault := label_fault(clean_label(label)))]
        if not self.cells.several and len(labels) != 1:
            way = "; if a clip may have none, set task=multi-label" if columns.plural else ""
            what = "say no label" if columns.one_hot else f"is empty{way}"
            if labels:
                verb = "say" if columns.one_hot else "has"
                what = f"{verb} {len(labels)} labels ({', '.join(map(printable, labels))}), and task is single-label; set task=multi-label"
            faults.append(f"line {line}: {printable(shown)} {what}")
        return labels

    def _faults(self, line: int, row: dict[str, str], columns: Columns) -> list[str]:
        """What is wrong with one row, but for its labels, fold and times."""
        file = row.get(columns.file, "")
        faults = [f"line {line}: {columns.file} is empty"] if not file.strip() else []
        windows = None if self.audio else windows_fault(file)
        if windows and windows_path(file):
            windows += ", or give the folder of the recordings as audio_dir"
        faults += [f"line {line}: {windows}"] if windows else []
        if row.get("split"):
            if split_named(row["split"]) is None:
                faults.append(f"line {line}: {split_fault(row['split'])}")
        elif "split" in row:
            faults.append(f"line {line}: split is empty")
        if "group" in row and not row["group"]:
            faults.append(f"line {line}: group is empty")
        return faults


def _span(
    line: int, row: dict[str, str], times: TimeColumns | None, seconds: Seconds, faults: list[str]
) -> tuple[float, float] | None:
    """The part that a row names; None where it names all of a recording, or has a fault."""
    if times is None:
        return None
    cells = (row[times.start], row[times.end])
    if not (cells[0].strip() or cells[1].strip()):
        return None
    return seconds.span(line, cells, (times.start_scale, times.end_scale), lasts=times.lasts, faults=faults)
