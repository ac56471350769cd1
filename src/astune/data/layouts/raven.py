"""``raven:PATH``: selection tables of Raven, one for each recording or one for many.

A sample: the row ``1  Spectrogram 1  1  1.5  2.75  2000  5000  robin`` under ``Selection``, ``View``, ``Channel``, ``Begin Time (s)``,
``End Time (s)``, ``Low Freq (Hz)``, ``High Freq (Hz)`` and ``Annotation`` in ``garden.Table.1.selections.txt`` says that a robin sings
in ``garden.wav`` from 1.5 to 2.75 s. A table of many recordings counts times over all of them; ``Begin File`` and ``File Offset (s)``
say where a selection is in its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.columns import choose_column, unused_columns, usual
from astune.data.layouts.base import register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.layouts.label_files import LabelFiles, Labelled
from astune.data.rows import read_text, split_rows
from astune.data.time_cells import Seconds
from astune.errors import DataError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astune.data.layouts.label_files import Reading
    from astune.data.options import DataOptions
    from astune.data.rows import Row

_BEGIN, _END, _OFFSET = "Begin Time (s)", "End Time (s)", "File Offset (s)"
_PATHS = ("Begin Path", "Begin File")  # the first that a row has names its recording
_NAME = re.compile(r"(\.BirdNET)?(\.Table\.?\d*|\.selection\.table|[ ._-]selections?)*\.(txt|tsv)", re.IGNORECASE)
_SELF_EVIDENT = ("Selection", "View", "Channel", _BEGIN, _END, _OFFSET, "End File", "End Path", *_PATHS)


@register_layout("raven")
class Raven(LabelFiles):
    """Selection tables next to recordings."""

    kind: ClassVar[str] = "selection table"
    format: ClassVar[str | None] = "raven"
    names_recordings: ClassVar[bool] = True
    one_each: ClassVar[bool] = False  # Raven numbers the tables of a recording
    reads: ClassVar[frozenset[str]] = LabelFiles.reads | {"label_column"}
    tree: ClassVar[str] = """\
  PATH/                                        any depth; or one of the tables
    garden.wav  garden.Table.1.selections.txt  as Raven saves it: a header with Begin Time (s), End Time (s) and Annotation,
    forest.wav  forest.selections.txt          and tabs between cells; a table without selections means that nothing is in it
  or one table of several recordings, with Begin File (or Begin Path) and File Offset (s)
  or a folder that `astune predict --format raven -o` wrote; audio_dir where the recordings are elsewhere
"""

    @override
    def stems(self, name: str, options: DataOptions) -> list[str]:
        """``garden`` for ``garden.Table.1.selections.txt``, ``garden.BirdNET.selection.table.txt`` and ``garden.txt``.

        Args:
            name: the name of a file.
            options: options of reading the data.
        """
        del options
        added = _NAME.search(name)
        if added is None or added.end() != len(name):
            return []
        plain = name[: added.start()]
        return list(dict.fromkeys((name.rpartition(".")[0], plain)))

    @override
    def is_one(self, file: Path) -> bool:
        """Whether the first line is Raven's header.

        Args:
            file: its path.
        """
        try:
            header = read_text(file, "text").partition("\n")[0].strip().split("\t")
        except DataError:
            return False
        return {_BEGIN, _END} <= {cell.strip() for cell in header}

    @override
    def lines(self, file: Path, recording: Path | None, reading: Reading) -> list[Labelled]:
        """Read a selection table.

        Args:
            file: its path.
            recording: the recording that it describes, where its name says so.
            reading: what is passed over, decided and wrong is added.

        Raises:
            DataError: it cannot be read, or has not the columns of one.
        """
        table, seconds = reading.shown_name(file), Seconds()
        header, rows = split_rows(file, read_text(file, "text"), "\t", quoted=False)
        absent = [name for name in (_BEGIN, _END) if name not in header]
        if absent:
            raise self.missing(file, f"it has no column {' and no column '.join(absent)}")
        column = self._label_column(file, header, rows, reading)
        paths = [name for name in _PATHS if name in header]
        if recording is None and rows and not paths:
            raise self.missing(
                file,
                "no recording has its name, and it has no column Begin File; name it as its recording, or give audio_dir",
            )
        several = {row[name] for _, row in rows for name in paths[:1] if row[name]}
        if len(several) > 1 and _OFFSET not in header:
            raise self.missing(
                file,
                f"it is of several recordings and has no column {_OFFSET}, and Raven counts times over all of them; "
                "add that measurement in Raven, or, if times count in each recording, give it as csv:PATH",
            )
        reading.add_columns(unused_columns(name for name in header if name not in (*_SELF_EVIDENT, column)))
        found: list[Labelled] = []
        faults: list[str] = []
        seen: set[tuple[str, ...]] = set()
        for line, row in rows:
            selection = (row.get("Selection", ""), row.get("Channel", ""), row[_BEGIN], row[_END], row[column])
            if "View" in row and row.get("Selection") and selection in seen:
                reading.passed_over(f"{table} line {line}", "rows of another view of one selection")
                continue
            seen.add(selection)
            named = next((row[name] for name in paths if row[name]), None)
            if crossing := _crosses(row):
                faults.append(f"line {line}: {crossing}")
            elif span := _span(line, row, seconds, faults, in_file=named is not None):
                found.append(Labelled(line, *span, row[column], named))
        seconds.finish(table, faults, reading.remarks)
        reading.faults += [f"{printable(table)} {fault}" for fault in faults]
        return found

    def _label_column(self, file: Path, header: Sequence[str], rows: Sequence[Row], reading: Reading) -> str:
        """The column of labels.

        Raises:
            DataError: there is no such column, or there are several.
        """
        given = reading.options.label_column
        used = [name for name in header if usual("label", name) and any(row[name] for _, row in rows)]
        if given is None and "Annotation" in (used or header):
            return "Annotation"
        chosen = choose_column("label", header if given is not None else used or header, given)
        if chosen.name is None:
            fault = (
                chosen.fault
                or f"no column is the label; the header has {', '.join(header)}: say which with label_column"
            )
            raise self.missing(file, fault)
        remark = f"Note: {chosen.remark} in selection tables"
        if chosen.remark and remark not in reading.remarks:
            reading.remarks.append(remark)
        return chosen.name

    @override
    def write_example(self, folder: Path) -> Path:
        """Four recordings of two sounds each; every selection is in two views, as Raven saves it.

        Args:
            folder: folder to write to.

        Returns:
            The folder.
        """
        header = ("Selection", "View", "Channel", _BEGIN, _END, "Low Freq (Hz)", "High Freq (Hz)", "Annotation")
        for number in range(4):
            write_tone(folder / f"garden-{number}.wav", seconds=1.0, pitch=300 + 40 * number)
            events = ((1, 0.1, 0.4 + 0.01 * number, "robin"), (2, 0.5, 0.9, "wren"))
            rows = [
                f"{selection}\t{view} 1\t1\t{begin:.3f}\t{end:.3f}\t1000.0\t3000.0\t{label}"
                for selection, begin, end, label in events
                for view in ("Waveform", "Spectrogram")
            ]
            write_text(folder / f"garden-{number}.Table.1.selections.txt", "\t".join(header), *rows)
        return folder


def _crosses(row: dict[str, str]) -> str | None:
    """What is wrong with a selection that begins in one recording and ends in another."""
    begin, end = row.get("Begin File", ""), row.get("End File", "")
    if not begin or not end or begin == end:
        return None
    return f"the selection goes from {printable(begin)} into {printable(end)}; divide it in two"


def _span(
    line: int, row: dict[str, str], seconds: Seconds, faults: list[str], *, in_file: bool
) -> tuple[float, float] | None:
    """Start and end of a selection in its recording."""
    span = seconds.span(line, (row[_BEGIN], row[_END]), (1.0, 1.0), lasts=False, faults=faults)
    offset = row.get(_OFFSET, "")
    if span is None or not in_file or not offset:
        return span
    start = seconds.read(line, _OFFSET, offset, 1.0, faults)
    return None if start is None else (start, start + span[1] - span[0])
