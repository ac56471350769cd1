"""``csv:PATH``: a table of files and labels, CSV or JSON Lines; Hugging Face's audio folders too, with a table in each split's folder.

A sample: the row ``audio/7_jackson_12.wav,7,2`` under the header ``file_name,label,fold`` is a clip of class ``7`` in fold 2; its path is
relative to the table's folder, or absolute. ``train/metadata.csv`` and ``test/metadata.csv`` are the tables of two splits. The row
``garden.wav,12.5,14,robin`` under ``file_name,start,end,label`` is a clip of a second and a half. Under ``file_name,labels`` the row
``yard.wav,dog;rain`` is a clip of two labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from astune.data.columns import time_columns, unused_columns
from astune.data.dataset import AudioDataset
from astune.data.hold_out import crossing_columns, group_like
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.options import DataOptions
from astune.data.predicted import read_prediction_record
from astune.data.recording_lookup import Recordings
from astune.data.recordings import Skipped, has_recordings, subfolders, unnamed_recordings
from astune.data.rows import read_json_rows, read_rows
from astune.data.splits import ask_which, is_undecided, split_named
from astune.data.table_columns import TableHead, is_known, is_label
from astune.data.table_rows import Opened, TableRows, cells_of
from astune.printable import printable
from astune.tasks import MULTI_LABEL, SINGLE_LABEL

if TYPE_CHECKING:
    from astune.data.predicted import Predicted
    from astune.data.splits import SplitName

_TABLES = ("metadata.csv", "metadata.jsonl")
_PARQUET = "metadata.parquet"
_JSON = (".jsonl", ".ndjson")


@register_layout("csv")
class Table(Layout):
    """Layout of a table with a header, one row per clip."""

    tree: ClassVar[str] = """\
  PATH: a CSV file, or a folder with a metadata.csv, with the header
    file_name,label                and one of, or neither of
    file_name,label,split          train, validation or test
    file_name,label,fold           1, 2, 3, ...
  and perhaps a column group: speaker, session or device, never divided where a validation split is drawn
  and perhaps start,end: seconds of the recording that are the clip (empty for all of it)
  where a clip may have several labels, or none (task multi-label), in the place of label
    labels                         dog;rain   or dog|rain, "dog,rain", "['dog', 'rain']"; a list in JSON
    dog,rain,siren                 a column of 0 and 1 for each label
  or metadata.jsonl, an object with these keys a line; or a folder with such tables in its split folders:
    train/metadata.csv  validation/metadata.csv  test/metadata.csv (or all of it in data/)
  or a folder of tables that `astune predict -o` wrote
  semicolons, tabs and usual names of columns are recognised; further columns are named and passed over; those like subset
  or is_test are refused
"""
    reads: ClassVar[frozenset[str]] = frozenset(
        ("task", "file_column", "label_column", "one_hot", "audio_dir", "window", "hop", "min_overlap", "background")
    )

    @override
    def recognises(self, path: Path) -> bool:
        """A table, a folder with ``metadata.csv`` or ``metadata.jsonl``, one whose split folders have them, or one of predictions."""
        if path.is_file():
            return path.suffix.lower() in (".csv", ".tsv", *_JSON)
        return bool(_tables(path) or _parquet(path) or _only_data(path) or _record(path))

    @override
    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the file, or a folder with one, or with one in each of its split folders.

        Raises:
            DataError: columns are missing or contradict each other, or rows have no usable value; all faults at once.
        """
        return self.load_with(path, DataOptions())

    @override
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
        opened = [one for file, split in tables.items() if (one := self._opened(file, split, read))]
        read.cells = cells_of(opened, options, read.remarks)
        for one in opened:
            read.add(one)
        parents = [root, *(root / name for name in subfolders(root) if split_named(name))] if path.is_dir() else []
        unread = [parent / name for parent in parents for name in _TABLES if parent / name not in tables]
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
        made = read.clips(shown)
        used = {label for clip in made.clips for label in clip.labels}
        indicators = dict.fromkeys(name for one in opened if one.columns.one_hot for name in one.columns.labels)
        read.skipped += [Skipped(name, "labels without a clip") for name in indicators if name not in used]
        skipped = unnamed_recordings(
            audio.folder if audio else root, read.files, everywhere=path.is_dir() or audio is not None
        )
        return dataset_of(
            self,
            shown,
            made.clips,
            skipped=[*read.skipped, *skipped],
            remarks=[*read.remarks, *made.remarks, *crossing_columns(read.sides)],
            locations={**made.locations, **read.locations},
            group_like=tuple(read.group_like),
            window=made.window,
            task=MULTI_LABEL if read.cells.several else SINGLE_LABEL,
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

    def _opened(self, file: Path, split: SplitName | None, read: TableRows) -> Opened | None:
        """Read a table and tell its columns.

        Returns:
            The table; None for one of nothing.

        Raises:
            DataError: see :meth:`load_with`.
        """
        options, remarks = read.options, list[str]()
        if file.suffix.lower() in _JSON:
            header, rows = read_json_rows(
                file,
                lambda name: (
                    name not in (options.one_hot or ())
                    and (is_known(name, options) or time_columns([name]) != (None, None))
                ),
                lambda name: is_label(name, options),
            )
        else:
            header, rows = read_rows(
                file, lambda name: is_label(name, options), known=lambda name: is_known(name, options), remarks=remarks
            )
        if not rows and file in read.expected:
            read.nothing_in(file)
            return None
        columns = TableHead(self, file, header, rows, split, options).columns(remarks)
        if not rows:
            raise self.missing(file, "it has no rows")
        read.remarks += [line for line in remarks if line not in read.remarks]
        read.group_like += [name for name in group_like(columns.unused) if name not in read.group_like]
        read.skipped += [one for one in unused_columns(columns.unused) if one not in read.skipped]
        read.divided |= columns.divides or split is not None
        return Opened(file, rows, split, columns)

    @override
    def write_example(self, folder: Path) -> Path:
        """Two classes, three folds, a column that is passed over.

        Args:
            folder: folder to write to.

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
    """A parquet table next to recordings."""
    inside = [folder / name for name in subfolders(folder) if split_named(name)]
    tables = (parent / _PARQUET for parent in (folder, *inside))
    return next((table for table in tables if table.is_file() and has_recordings(table.parent)), None)


def _record(folder: Path) -> Predicted | None:
    """What ``astune predict -o`` wrote into a folder, where its tables have columns that name recordings and labels."""
    record = read_prediction_record(folder) if folder.is_dir() else None
    return record if record is not None and record.format in ("csv", "jsonl") else None
