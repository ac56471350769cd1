"""``csv:PATH``: a table of files and labels, CSV or JSON Lines; Hugging Face's audio folders too, with a table in each split's folder.

A sample: the row ``audio/7_jackson_12.wav,7,2`` under the header ``file_name,label,fold`` is a clip of class ``7`` in fold 2; its path is
relative to the table's folder, or absolute. ``train/metadata.csv`` and ``test/metadata.csv`` are the tables of two splits. The row
``garden.wav,12.5,14,robin`` under ``file_name,start,end,label`` is a clip of a second and a half.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from astune.data.columns import choose_column, division_columns, time_columns, unused_columns, usual
from astune.data.dataset import AudioDataset
from astune.data.hold_out import crossing_columns, group_like
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.options import DataOptions
from astune.data.predicted import predicted
from astune.data.recording_lookup import Recordings
from astune.data.recordings import Skipped, has_recordings, subfolders, unnamed_recordings
from astune.data.rows import absent_columns, read_json_rows, read_rows
from astune.data.splits import ask_which, is_undecided, split_named
from astune.data.table_rows import Columns, TableRows
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astune.data.predicted import Predicted
    from astune.data.rows import Row
    from astune.data.splits import SplitName

_TABLES = ("metadata.csv", "metadata.jsonl")
_PARQUET = "metadata.parquet"
_JSON = (".jsonl", ".ndjson")
_DIVIDING = ("split", "fold", "group")
_RAVEN = frozenset(("Begin Time (s)", "File Offset (s)"))


@register_layout("csv")
class Table(Layout):
    """A table with a header."""

    tree: ClassVar[str] = """\
  PATH: a CSV file, or a folder with a metadata.csv, with the header
    file_name,label                and one of, or neither of
    file_name,label,split          train, validation or test
    file_name,label,fold           1, 2, 3, ...
  and perhaps a column group: speaker, session or device, never divided where a validation split is drawn
  and perhaps start,end: seconds of the recording that are the clip (empty for all of it)
  or metadata.jsonl, an object with these keys a line; or a folder with such tables in its split folders:
    train/metadata.csv  validation/metadata.csv  test/metadata.csv (or all of it in data/)
  or a folder of tables that `astune predict -o` wrote
  semicolons, tabs and usual names of columns are recognised; further columns are named and passed over; those like subset
  or is_test are refused
"""
    reads: ClassVar[frozenset[str]] = frozenset(
        ("file_column", "label_column", "audio_dir", "window", "hop", "min_overlap", "background")
    )

    def recognises(self, path: Path) -> bool:
        """A table, a folder with ``metadata.csv`` or ``metadata.jsonl``, one whose split folders have them, or one of predictions.

        Args:
            path: an existing file or folder.
        """
        if path.is_file():
            return path.suffix.lower() in (".csv", ".tsv", *_JSON)
        return bool(_tables(path) or _parquet(path) or _only_data(path) or _record(path))

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the file, or a folder with one, or with one in each of its split folders.

        Raises:
            DataError: columns are missing or contradict each other, or rows have no usable value; all faults at once.
        """
        return self.load_with(path, DataOptions())

    def load_with(self, path: Path, options: DataOptions) -> AudioDataset:
        """Read clips and labels, or parts of recordings and labels.

        Args:
            path: the file, or a folder with one, or with one in each of its split folders.
            options: columns, folder of the recordings, and windows.

        Raises:
            DataError: columns are missing or contradict each other, or rows have no usable value; all faults at once.
        """
        if path.is_dir() and (refused := _parquet(path)):
            raise self.missing(refused, "tables of parquet beside recordings are not read; write it as metadata.csv")
        if path.is_dir() and _only_data(path):
            return self.load_with(path / "data", options)
        tables: dict[Path, SplitName | None] = (
            _tables(path) if path.is_dir() else {path: None} if path.is_file() else {}
        )
        root = path if path.is_dir() else path.parent
        audio = Recordings.of(options.audio_dir) if options.audio_dir is not None else None
        read = TableRows(root, audio, options)
        if not tables:
            self._expect(path, read)
            tables = dict.fromkeys(read.expected)
        if not tables:
            raise self.missing(path, f"there is no {_TABLES[0]}")
        self._refuse_other_folders(root, tables)
        for file, split in tables.items():
            self._read(file, split, read)
        places = [root, *(root / name for name in subfolders(root) if split_named(name))] if path.is_dir() else []
        unread = [place / name for place in places for name in _TABLES if place / name not in tables]
        read.skipped += [
            Skipped(file.relative_to(root).as_posix(), "tables beside one that is read")
            for file in unread
            if file.is_file()
        ]
        shown = path if read.expected else next((file for file, split in tables.items() if split is None), path)
        read.finish(shown)
        folders = {} if read.divided else read.split_folders()
        if {"train"} < set(folders.values()):
            raise self.missing(
                shown,
                f"files are in folders named as splits ({', '.join(map(printable, sorted(folders)))}), "
                "and no column split says what they are; add it",
            )
        made = read.clips()
        skipped = unnamed_recordings(
            audio.folder if audio else root, read.files, everywhere=path.is_dir() or audio is not None
        )
        return dataset_of(
            self,
            shown,
            made.clips,
            skipped=[*read.skipped, *skipped],
            remarks=[*read.remarks, *made.remarks, *crossing_columns(read.sides)],
            places={**made.places, **read.places},
            group_like=tuple(read.group_like),
            window=made.window,
        )

    def _refuse_other_folders(self, root: Path, tables: dict[Path, SplitName | None]) -> None:
        """Refuse split folders without a table, and undecided ones, where split folders have tables."""
        if None in tables.values():
            return
        parents = {file.parent.name for file in tables}
        for folder in (root / name for name in subfolders(root) if name not in parents):
            if is_undecided(folder.name) and has_recordings(folder):
                raise self.missing(folder, ask_which(f"{printable(folder.name)}/"))
            if split_named(folder.name) and has_recordings(folder):
                raise self.missing(folder, "there are recordings and no metadata.csv, which other split folders have")

    def _expect(self, folder: Path, read: TableRows) -> None:
        """Take the tables that ``astune predict -o`` wrote into a folder; there may be none."""
        record = _record(folder)
        if record is None:
            return
        read.expected = {folder / table: recording for table, recording in sorted(record.tables.items())}
        read.unfinished = record.unfinished
        read.skipped += [Skipped(Path(name).name, "recordings without a finished table") for name in record.unfinished]

    def _read(self, file: Path, split: SplitName | None, read: TableRows) -> None:
        """Add the clips of one table.

        Raises:
            DataError: as of :meth:`load_with`.
        """
        options, remarks = read.options, list[str]()

        def is_label(name: str) -> bool:
            return name == options.label_column or usual("label", name)

        def known(name: str) -> bool:
            return name in (options.file_column, *_DIVIDING) or is_label(name) or usual("file_name", name)

        if file.suffix.lower() in _JSON:
            header, rows = read_json_rows(file, lambda name: known(name) or time_columns([name]) != (None, None))
        else:
            header, rows = read_rows(file, is_label, known=known, remarks=remarks)
        if not rows and file in read.expected:
            read.nothing_in(file)
            return
        columns, unused = self._columns(file, header, rows, split, options, remarks)
        if not rows:
            raise self.missing(file, "it has no rows")
        read.remarks += [line for line in remarks if line not in read.remarks]
        read.group_like += [name for name in group_like(unused) if name not in read.group_like]
        read.skipped += [one for one in unused_columns(unused) if one not in read.skipped]
        read.divided |= columns.divides or split is not None
        read.add(file, rows, split, columns)

    def _columns(
        self,
        file: Path,
        header: Sequence[str],
        rows: Sequence[Row],
        split: SplitName | None,
        options: DataOptions,
        remarks: list[str],
    ) -> tuple[Columns, list[str]]:
        """What the columns of a table are, and those that are not used.

        Raises:
            DataError: as of :meth:`load_with`.
        """
        chosen = {
            "file_name": choose_column("file_name", header, options.file_column),
            "label": choose_column("label", header, options.label_column),
        }
        asked = [one.fault for one in chosen.values() if one.fault]
        if asked:
            raise self.missing(file, "; ".join(asked))
        absent = [role for role, one in chosen.items() if one.name is None]
        class_folders = "label" in absent and subfolders(file.parent)
        hint = "; folder:PATH reads the class folders" if class_folders else ""
        options_of = {"file_name": "file_column", "label": "label_column"}
        hint += (
            f"; if it has another name, give it as {' and '.join(options_of[role] for role in absent)}"
            if absent
            else ""
        )
        absent_columns(self, file, header, absent, hint)
        remarks += [f"Note: {printable(file.name)}: {one.remark}" for one in chosen.values() if one.remark]
        if "split" in header and "fold" in header:
            raise self.missing(file, "it has both a column split and a column fold; keep one")
        if split is not None and {"split", "fold"} & set(header):
            raise self.missing(
                file, f"the folder says that these clips are {split}, so it cannot have a column split or fold"
            )
        named = [one.name for one in chosen.values() if one.name]
        others = [name for name in header if name not in (*named, *_DIVIDING)]
        times, fault = time_columns(others)
        unused = [name for name in others if times is None or name not in (times.start, times.end)]
        columns = Columns(named[0], named[1], times, bool({"split", "fold"} & set(header)))
        dividing = None
        if not columns.divides and split is None:
            dividing = division_columns(unused, lambda name: (row[name] for _, row in rows))
        if times is not None and set(header) >= _RAVEN:
            fault = "it is a selection table of Raven, whose times may count over several recordings; give raven:PATH"
        if fault := fault or dividing:
            raise self.missing(file, fault)
        if times is not None and (times.start, times.end) != ("start", "end"):
            ends = "start and duration" if times.lasts else "start and end"
            remarks.append(f"Note: {printable(file.name)}: columns {times.start} and {times.end} are read as {ends}")
        return columns, unused

    def write_example(self, folder: Path) -> Path:
        """Two classes, three folds, a column that is passed over.

        Args:
            folder: where to write.

        Returns:
            The folder.
        """
        rows = []
        for fold in (1, 2, 3):
            for label in ("no", "yes"):
                for take in range(4):
                    name = f"audio/{label}_{fold}_{take}.wav"
                    write_tone(folder / name, pitch=300 * fold + 20 * take + len(label))
                    rows.append(f"{name},{label},{fold},speaker-{fold}")
        write_text(folder / _TABLES[0], "file_name,label,fold,speaker", *rows)
        return folder


def _tables(folder: Path) -> dict[Path, SplitName | None]:
    """The table of a folder, or those of its split folders."""
    for name in _TABLES:
        if (folder / name).is_file():
            return {folder / name: None}
    return {
        folder / name / table: split
        for name in subfolders(folder)
        if (split := split_named(name))
        for table in [next((table for table in _TABLES if (folder / name / table).is_file()), None)]
        if table
    }


def _only_data(folder: Path) -> bool:
    """Whether all of a data set is in its folder ``data``, as on the hub."""
    return subfolders(folder) == ["data"] and not _tables(folder) and bool(_tables(folder / "data"))


def _parquet(folder: Path) -> Path | None:
    """A parquet table beside recordings."""
    inside = [folder / name for name in subfolders(folder) if split_named(name)]
    tables = (place / _PARQUET for place in (folder, *inside))
    return next((table for table in tables if table.is_file() and has_recordings(table.parent)), None)


def _record(folder: Path) -> Predicted | None:
    """What ``astune predict -o`` wrote into a folder, where its tables have columns that name recordings and labels."""
    record = predicted(folder) if folder.is_dir() else None
    return record if record is not None and record.format in ("csv", "jsonl") else None
