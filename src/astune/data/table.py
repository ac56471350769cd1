"""``csv:PATH``: a table of files and labels.

A sample: the row ``audio/7_jackson_12.wav,7,2`` under the header ``file_name,label,fold`` is a clip of class ``7`` in fold 2; its path is
relative to the table's folder, or absolute.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

from astune.data.base import SPLITS, AudioDataset, Clip, Layout, SplitName, dataset_of, register_layout
from astune.errors import DataError, listing, unknown

_ALIASES: dict[str, SplitName] = {**{name: name for name in SPLITS}, "valid": "validation", "val": "validation"}
_DEFAULT = "metadata.csv"


@register_layout("csv")
class Table(Layout):
    """A CSV file with a header."""

    tree: ClassVar[str] = """\
  PATH: a CSV file, or a folder with a metadata.csv, with the header
    file_name,label                and one of, or neither of
    file_name,label,split          train, validation or test
    file_name,label,fold           1, 2, 3, ...
  further columns are passed over
"""

    def recognises(self, path: Path) -> bool:
        """A ``.csv`` file, or a folder with ``metadata.csv``.

        Args:
            path: an existing file or folder.
        """
        return path.suffix.lower() == ".csv" if path.is_file() else (path / _DEFAULT).is_file()

    def load(self, path: Path) -> AudioDataset:
        """Read clips and labels.

        Args:
            path: the file, or a folder with ``metadata.csv``.

        Raises:
            DataError: columns are missing or contradict each other, or rows have no usable value; all faults at once.
        """
        file = path / _DEFAULT if path.is_dir() else path
        if not file.is_file():
            raise self.missing(path, f"there is no {_DEFAULT}")
        header, rows = read_rows(file)
        absent = [name for name in ("file_name", "label") if name not in header]
        if absent:
            raise self.missing(file, f"the header ({', '.join(header)}) has no column {' and no column '.join(absent)}")
        if "split" in header and "fold" in header:
            raise self.missing(file, "it has both a column split and a column fold; keep one")
        if not rows:
            raise self.missing(file, "it has no rows")
        faults: list[str] = []
        clips = [clip for number, row in rows if (clip := _clip(file, number, row, faults)) is not None]
        if faults:
            more = [f"and {len(faults) - 10} more"] if len(faults) > 10 else []
            raise DataError(listing(faults[:10] + more, str(file)))
        return dataset_of(self, file, clips)


def read_rows(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header.

    Args:
        file: UTF-8, with or without a byte order mark.

    Returns:
        The header, and each row with its line number.

    Raises:
        DataError: it is not UTF-8 text or no CSV.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = [
                (
                    reader.line_num,
                    {key: (value or "").strip() for key, value in row.items() if isinstance(value, str | None)},
                )
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{file} is no readable CSV file: {fault}") from fault
    return header, rows


def _clip(file: Path, line: int, row: dict[str, str], faults: list[str]) -> Clip | None:
    before = len(faults)
    faults += [f"line {line}: {name} is empty" for name in ("file_name", "label") if not row.get(name)]
    split = None
    if row.get("split"):
        split = _ALIASES.get(row["split"].lower())
        if split is None:
            faults.append(f"line {line}: {unknown('split', row['split'], SPLITS)}")
    elif "split" in row:
        faults.append(f"line {line}: split is empty")
    fold = None
    if "fold" in row:
        if row["fold"].isdecimal():
            fold = int(row["fold"])
        else:
            faults.append(f"line {line}: fold is {row['fold']!r}, not a whole number")
    if len(faults) > before:
        return None
    name = Path(row["file_name"])
    return Clip(name if name.is_absolute() else file.parent / name, row["label"], name.as_posix(), split, fold)
