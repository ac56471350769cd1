"""``csv:PATH``: a table of files and labels, CSV or JSON Lines; Hugging Face's audio folders too, with a table in each split's folder.

A sample: the row ``audio/7_jackson_12.wav,7,2`` under the header ``file_name,label,fold`` is a clip of class ``7`` in fold 2; its path is
relative to the table's folder, or absolute. ``train/metadata.csv`` and ``test/metadata.csv`` are the tables of two splits.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset
from astune.data.hold_out import Sides, crossing_columns, group_like
from astune.data.labels import cleaned, label_fault
from astune.data.layouts.base import Layout, dataset_of, register_layout
from astune.data.layouts.example import write_text, write_tone
from astune.data.named_files import NamedFiles, windows_fault
from astune.data.recordings import Skipped, has_recordings, subfolders, unnamed_recordings
from astune.data.rows import (
    Row,
    absent_columns,
    division_columns,
    part_columns,
    read_json_rows,
    read_rows,
    refuse,
    unused_columns,
    whole_number,
)
from astune.data.splits import ask_which, is_undecided, split_fault, split_named
from astune.printable import printable

if TYPE_CHECKING:
    from astune.data.splits import SplitName

_TABLES = ("metadata.csv", "metadata.jsonl")
_PARQUET = "metadata.parquet"
_JSON = (".jsonl", ".ndjson")
_LONG_FORM = re.compile(r"//|(?:^|/)\.(?:/|$)|/$")  # of a path that has a shorter one
_USED = ("file_name", "label", "split", "fold", "group")


@register_layout("csv")
class Table(Layout):
    """A table with a header."""

    tree: ClassVar[str] = """\
  PATH: a CSV file, or a folder with a metadata.csv, with the header
    file_name,label                and one of, or neither of
    file_name,label,split          train, validation or test
    file_name,label,fold           1, 2, 3, ...
  and perhaps a column group: speaker, session or device, never divided where a validation split is drawn
  or metadata.jsonl, an object with these keys a line; or a folder with such tables in its split folders:
    train/metadata.csv  validation/metadata.csv  test/metadata.csv (or all of it in data/)
  further columns are named and passed over; those like start, end, subset or is_test are refused
"""

    def recognises(self, path: Path) -> bool:
        """A table, a folder with ``metadata.csv`` or ``metadata.jsonl``, or one whose split folders have them.

        Args:
            path: an existing file or folder.
        """
        if path.is_file():
            return path.suffix.lower() in (".csv", ".tsv", *_JSON)
        return bool(_tables(path) or _parquet(path) or _only_data(path))

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the file, or a folder with one, or with one in each of its split folders.

        Raises:
            DataError: columns are missing or contradict each other, or rows have no usable value; all faults at once.
        """
        if path.is_dir() and (refused := _parquet(path)):
            raise self.missing(refused, "tables of parquet beside recordings are not read; write it as metadata.csv")
        if path.is_dir() and _only_data(path):
            return self.load(path / "data")
        tables: dict[Path, SplitName | None] = (
            _tables(path) if path.is_dir() else {path: None} if path.is_file() else {}
        )
        if not tables:
            raise self.missing(path, f"there is no {_TABLES[0]}")
        root = path if path.is_dir() else path.parent
        self._refuse_other_folders(root, tables)
        read = _Read(root)
        for file, split in tables.items():
            self._read(file, split, read)
        places = [root, *(root / name for name in subfolders(root) if split_named(name))] if path.is_dir() else []
        unread = [place / name for place in places for name in _TABLES if place / name not in tables]
        read.skipped += [
            Skipped(file.relative_to(root).as_posix(), "tables beside one that is read")
            for file in unread
            if file.is_file()
        ]
        shown = next((file for file, split in tables.items() if split is None), path)
        twice = [f"{printable(name)} is named {number} times" for name, number in read.files.items() if number > 1]
        refuse(shown, twice)
        clips = _portable(read.clips)
        folders = {} if read.divided else _split_folders(clips)
        if {"train"} < set(folders.values()):
            raise self.missing(
                shown,
                f"files lie in folders named as splits ({', '.join(map(printable, sorted(folders)))}), "
                "and no column split says what they are; add it",
            )
        skipped = unnamed_recordings(root, list(read.files), everywhere=path.is_dir())
        return dataset_of(
            self,
            shown,
            clips,
            skipped=[*read.skipped, *skipped],
            remarks=[*read.remarks, *crossing_columns(read.sides)],
            places=read.places,
            group_like=tuple(read.group_like),
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

    def _read(self, file: Path, split: SplitName | None, read: _Read) -> None:
        """Add the clips of one table.

        Raises:
            DataError: as of :meth:`load`.
        """
        if file.suffix.lower() in _JSON:
            header, rows = read_json_rows(file, plain=_USED)
        else:
            header, rows = read_rows(file, verbatim=("label",))
        hint = "; folder:PATH reads the class folders" if "label" not in header and subfolders(file.parent) else ""
        absent_columns(self, file, header, ("file_name", "label"), hint)
        if "split" in header and "fold" in header:
            raise self.missing(file, "it has both a column split and a column fold; keep one")
        if split is not None and {"split", "fold"} & set(header):
            raise self.missing(
                file, f"the folder says that these clips are {split}, so it cannot have a column split or fold"
            )
        unused = [name for name in header if name not in _USED]
        divided = bool({"split", "fold"} & set(header)) or split is not None
        dividing = None if divided else division_columns(unused, lambda name: (row[name] for _, row in rows))
        if fault := part_columns(unused) or dividing:
            raise self.missing(file, fault)
        if not rows:
            raise self.missing(file, "it has no rows")
        read.group_like += [name for name in group_like(unused) if name not in read.group_like]
        read.skipped += [one for one in unused_columns(unused) if one not in read.skipped]
        read.divided |= divided
        read.add(file, rows, split)

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


@dataclass
class _Read:
    """What the tables of a data set gave so far."""

    root: Path
    clips: list[Clip] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    """Times that each file was named, by its absolute path without links followed: links are files of their own."""
    places: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    group_like: list[str] = field(default_factory=list)
    sides: Sides = field(default_factory=dict)
    divided: bool = False
    """Whether the data say which clips are of which split."""

    def add(self, file: Path, rows: list[Row], split: SplitName | None) -> None:
        """Read the rows of a table.

        Raises:
            DataError: some have no usable value; all of them.
        """
        names = NamedFiles(file.parent)
        prefix = "" if file.parent == self.root else f"{file.parent.name}/"
        folder, place = str(file.parent), f"{prefix}{file.name} line" if prefix else "line"
        absolute = os.path.abspath(folder)  # noqa: PTH100 - links are files of their own
        faults: list[str] = []
        for line, row in rows:
            faulty = len(faults)
            faults += _faults(line, row)
            given = split or (split_named(row["split"]) if row.get("split") else None)
            fold = whole_number("fold", line, row, faults) if "fold" in row else None
            if len(faults) > faulty:
                continue
            name = names.path(row["file_name"])
            self.places.setdefault(row["label"], f"{place} {line}")
            key = os.path.normpath(os.path.join(absolute, name))  # noqa: PTH118 - of text, for speed
            self.files[key] = self.files.get(key, 0) + 1
            side = given if fold is None else fold
            if side is not None:
                for column in self.group_like:
                    self.sides.setdefault(column, defaultdict(set))[row.get(column, "")].add(side)
            named = name if name.startswith("/") else prefix + name
            named = Path(named).as_posix() if _LONG_FORM.search(named) else named
            clip = Clip(named, Path(folder, name), (row["label"],), split=given, fold=fold, group=row.get("group"))
            self.clips.append(clip)
        refuse(file, faults)
        self.remarks += names.remarks


def _faults(line: int, row: dict[str, str]) -> list[str]:
    """What is wrong with one row, but for its fold."""
    faults = [f"line {line}: {name} is empty" for name in ("file_name", "label") if not row.get(name, "").strip()]
    label = row.get("label", "").strip()
    found = (windows_fault(row.get("file_name", "")), label_fault(cleaned(label)) if label else None)
    faults += [f"line {line}: {fault}" for fault in found if fault]
    if row.get("split"):
        if split_named(row["split"]) is None:
            faults.append(f"line {line}: {split_fault(row['split'])}")
    elif "split" in row:
        faults.append(f"line {line}: split is empty")
    if "group" in row and not row["group"]:
        faults.append(f"line {line}: group is empty")
    return faults


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


def _split_folders(clips: list[Clip]) -> dict[str, SplitName]:
    """Folders of files that are named as splits, and not as the class of what is in them."""
    folders = {(clip.name.rpartition("/")[0], clip.label) for clip in clips}
    shared = len(os.path.commonpath({folder for folder, _ in folders})) if all(folder for folder, _ in folders) else 0
    parts = {(part, label) for folder, label in folders for part in folder[shared:].split("/")}
    return {part: split for part, label in parts if (split := split_named(part)) and part != label}


def _portable(clips: list[Clip]) -> list[Clip]:
    """Name clips with absolute paths so that no name tells where the data lie: draws are keyed by names."""
    folders = {clip.name.rpartition("/")[0] or "/" for clip in clips if clip.name.startswith("/")}
    if not folders:
        return clips
    start = len(os.path.commonpath(folders).rstrip("/")) + 1
    return [replace(clip, name=clip.name[start:]) if clip.name.startswith("/") else clip for clip in clips]
