"""What the columns of a table are: recording, label or labels, times, split, fold and group; and those that are not used.

A sample: under ``file,start_time,end_time,robin,wren`` a row names a recording, a part of it, and with 0 and 1 which birds sing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.data.columns import choose_column, division_columns, plural, time_columns, usual
from astune.data.hold_out import group_like
from astune.data.label_cells import indicator_columns
from astune.data.recordings import subfolders
from astune.data.rows import absent_columns
from astune.plurals import enumerated
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astune.data.columns import TimeColumns
    from astune.data.layouts.base import Layout
    from astune.data.options import DataOptions
    from astune.data.rows import Row
    from astune.data.splits import SplitName

_DIVIDING = ("split", "fold", "group")
_RAVEN = frozenset(("Begin Time (s)", "File Offset (s)"))
_SHOWN = 3  # names of columns in a remark


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are."""

    file: str
    labels: tuple[str, ...]
    """One column of texts; or several of 0 and 1, each named as its label."""
    one_hot: bool
    times: TimeColumns | None
    divides: bool
    """Whether one of them says which clips are of which split or fold."""
    unused: tuple[str, ...]

    @property
    def plural(self) -> bool:
        """Whether the name of the label column says that it may hold several labels."""
        return not self.one_hot and plural(self.labels[0])


def is_label(name: str, options: DataOptions) -> bool:
    """Whether a column is read as labels in text.

    Args:
        name: the name of the column.
        options: the user's.
    """
    return name == options.label_column or usual("label", name) or plural(name)


def is_known(name: str, options: DataOptions) -> bool:
    """Whether a column has a name that is looked for.

    Args:
        name: the name of the column.
        options: the user's.
    """
    asked = (options.file_column, *(options.one_hot or ()), *_DIVIDING)
    return name in asked or is_label(name, options) or usual("file_name", name)


@dataclass(frozen=True)
class TableHead:
    """A table whose columns are to be recognised."""

    layout: Layout
    file: Path
    header: Sequence[str]
    rows: Sequence[Row]
    split: SplitName | None
    """The split that the name of its folder gives; None where it gives none."""
    options: DataOptions

    def columns(self, remarks: list[str]) -> Columns:
        """Tell them.

        Args:
            remarks: what was decided is added.

        Raises:
            DataError: columns are missing, contradict each other, or could be several things.
        """
        header = self.header
        file = choose_column("file_name", header, self.options.file_column)
        labels, one_hot, notes, fault = self._labels([file.name] if file.name else [])
        asked = [one for one in (file.fault, fault) if one]
        if asked:
            raise self.layout.missing(self.file, "; ".join(asked))
        self._refuse_absent(file.name, labels)
        remarks += [f"Note: {printable(self.file.name)}: {one}" for one in (file.remark, *notes) if one]
        if "split" in header and "fold" in header:
            raise self.layout.missing(self.file, "it has both a column split and a column fold; keep one")
        if self.split is not None and {"split", "fold"} & set(header):
            what = f"the folder says that these clips are {self.split}, so it cannot have a column split or fold"
            raise self.layout.missing(self.file, what)
        others = [name for name in header if name not in (file.name, *labels, *_DIVIDING)]
        times, fault = time_columns(others)
        unused = [name for name in others if times is None or name not in (times.start, times.end)]
        divides = bool({"split", "fold"} & set(header))
        dividing = None
        if not divides and self.split is None:
            dividing = division_columns(unused, self._values)
        if times is not None and set(header) >= _RAVEN:
            fault = "it is a selection table of Raven, whose times may count over several recordings; give raven:PATH"
        if fault := fault or dividing:
            raise self.layout.missing(self.file, fault)
        if times is not None and (times.start, times.end) != ("start", "end"):
            ends = "start and duration" if times.lasts else "start and end"
            said = f"columns {times.start} and {times.end} are read as {ends}"
            remarks.append(f"Note: {printable(self.file.name)}: {said}")
        return Columns(str(file.name), labels, one_hot, times, divides, tuple(unused))

    def _values(self, name: str) -> list[str]:
        return [row[name] for _, row in self.rows]

    def _labels(self, used: Sequence[str]) -> tuple[tuple[str, ...], bool, list[str | None], str | None]:
        """The label columns, whether they hold 0 and 1, what was decided, and what to ask."""
        options, header = self.options, self.header
        if options.one_hot is not None:
            absent = [name for name in options.one_hot if name not in header]
            fault = f"there is no column {' and no column '.join(map(printable, absent))} (one_hot); the header has "
            if options.label_column is not None:
                return (), True, [], "give either label_column, of texts, or one_hot, columns of 0 and 1"
            return tuple(dict.fromkeys(options.one_hot)), True, [], fault + ", ".join(header) if absent else None
        chosen = choose_column("label", header, options.label_column)
        if chosen.name is not None or chosen.fault is not None:
            return (chosen.name,) if chosen.name else (), False, [chosen.remark], chosen.fault
        found = indicator_columns(self._unnamed(used), [row for _, row in self.rows], self._of_other_use())
        if not found.certain:
            return (), False, [], None
        shown = ", ".join(map(printable, found.names[:_SHOWN])) + (", ..." if len(found.names) > _SHOWN else "")
        return found.names, True, [f"{len(found.names)} columns of 0 and 1 are read as labels: {shown}"], None

    def _unnamed(self, used: Sequence[str]) -> list[str]:
        """Names of the columns that have no role."""
        others = [name for name in self.header if name not in (*used, *_DIVIDING)]
        times, _ = time_columns(others)
        return [name for name in others if times is None or name not in (times.start, times.end)]

    def _of_other_use(self) -> frozenset[str]:
        dividing = (name for name in self.header if division_columns([name], self._values))
        return frozenset((*group_like(self.header), *dividing))

    def _refuse_absent(self, file: str | None, labels: Sequence[str]) -> None:
        """Refuse a table without a column of recordings or of labels.

        Raises:
            DataError: the table has no such column.
        """
        roles = {"file_name": bool(file), "label": bool(labels)}
        absent = [role for role, there in roles.items() if not there]
        if not absent:
            return
        hint = "; folder:PATH reads the class folders" if not labels and subfolders(self.file.parent) else ""
        options_of = {"file_name": "file_column", "label": "label_column"}
        hint += f"; if it has another name, give it as {enumerated(options_of[role] for role in absent)}"
        if not labels:
            unnamed = self._unnamed([file] if file else [])
            found = indicator_columns(unnamed, [row for _, row in self.rows], self._of_other_use())
            if found.names and len(found.names) + len(found.others) > 1:
                shown = ", ".join(map(printable, found.names[:_SHOWN])) + (", ..." if len(found.names) > _SHOWN else "")
                hint += f"; if columns of 0 and 1 ({shown}) are labels, give them as one_hot"
        absent_columns(self.layout, self.file, self.header, absent, hint)
